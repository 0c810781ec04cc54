"""The models that the bad requests are aimed at: each gives back what it takes."""

from __future__ import annotations

from pathlib import Path

from onnx import parser

_GRAPHS = {
    "rows": "graph (float[n, 3] x) => (float[n, 3] y) { y = Identity (x) }",
    "texts": """graph (string[n, 1] text, bool[n, 1] flag) => (string[n, 1] same, bool[n, 1] too) {
        same = Identity (text)
        too = Identity (flag)
    }""",
}
_FIELDS = {
    "rows": "input { name: 'x' data_type: TYPE_FP32 dims: 3 }"
    "output { name: 'y' data_type: TYPE_FP32 dims: 3 }",
    "texts": "input { name: 'text' data_type: TYPE_STRING dims: 1 }"
    "input { name: 'flag' data_type: TYPE_BOOL dims: 1 }"
    "output { name: 'same' data_type: TYPE_STRING dims: 1 }"
    "output { name: 'too' data_type: TYPE_BOOL dims: 1 }",
}


def build(root: Path) -> Path:
    """Write the repository, and return its folder."""
    for name, graph in _GRAPHS.items():
        write(root, name, graph, _FIELDS[name], batch=8)
    return root


def write(root: Path, name: str, graph: str, fields: str, *, batch: int) -> None:
    """Write one model.

    Args:
        root: the repository.
        name: of the model.
        graph: in ONNX's textual form.
        fields: the inputs and outputs, as in config.pbtxt.
        batch: its max_batch_size.
    """
    (root / name / "1").mkdir(parents=True)
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]> {graph}')
    (root / name / "1" / "model.onnx").write_bytes(model.SerializeToString())
    (root / name / "config.pbtxt").write_text(
        f"backend: 'onnxruntime' max_batch_size: {batch} {fields}"
    )
