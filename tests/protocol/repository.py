"""The one repository that every engine serves here: tiny graphs, with complete configs.

The configs are complete so that `echo`, which opens no graph, serves the same models. Each graph
gives back an input as the first output wherever it can, so that `echo` agrees as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx import TensorProto, parser

from tests import graphs

DATATYPES: Mapping[str, tuple[int, str]] = {
    "BOOL": (TensorProto.BOOL, "bool"),
    "UINT8": (TensorProto.UINT8, "uint8"),
    "UINT16": (TensorProto.UINT16, "uint16"),
    "UINT32": (TensorProto.UINT32, "uint32"),
    "UINT64": (TensorProto.UINT64, "uint64"),
    "INT8": (TensorProto.INT8, "int8"),
    "INT16": (TensorProto.INT16, "int16"),
    "INT32": (TensorProto.INT32, "int32"),
    "INT64": (TensorProto.INT64, "int64"),
    "FP16": (TensorProto.FLOAT16, "float16"),
    "FP32": (TensorProto.FLOAT, "float"),
    "FP64": (TensorProto.DOUBLE, "double"),
    "BYTES": (TensorProto.STRING, "string"),
}
"""Each datatype that ONNX shares with the protocol, and ONNX's two words for it."""

Field = tuple[str, str, Sequence[int]]
"""The name, datatype and dims of an input or output."""


def build(root: Path) -> Path:
    """Write the repository, and return its folder."""
    # Takes FP32 `x` [n, 3] and gives it back as `y`, up to eight rows.
    rows: tuple[list[Field], list[Field]] = ([("x", "FP32", [3])], [("y", "FP32", [3])])
    _model(root, "rows", graphs.identity(), *rows, batch=8)
    _model(root, "guest", graphs.identity(), *rows, batch=8)
    _model(root, "versioned", graphs.identity(), *rows, batch=8, more="version_policy { all {} }")
    _version(root, "versioned", 2, _times_two())
    _model(
        root,
        "every_type",
        _every_type(),
        [(f"in_{name}", name, [-1, -1]) for name in DATATYPES],
        [(f"out_{name}", name, [-1, -1]) for name in DATATYPES],
    )
    _model(
        root,
        "greeting",
        graphs.greeting(),
        [("name", "BYTES", [1]), ("loud", "BOOL", [1])],
        [("text", "BYTES", [1]), ("quiet", "BOOL", [1])],
        batch=8,
    )
    _model(
        root,
        "sums",
        graphs.sum_and_double(),
        [("x", "FP32", [3])],
        [("double", "FP32", [3]), ("total", "FP32", [])],
        batch=8,
    )
    _model(
        root, "lookup", graphs.lookup(), [("index", "INT64", [])], [("value", "FP32", [])], batch=64
    )
    _model(
        root,
        "bias",
        graphs.with_default_bias(),
        [("x", "FP32", [3]), ("bias", "FP32", [3])],
        [("y", "FP32", [3])],
        optional="bias",
    )
    _model(root, "slow", _slow(), [("steps", "INT64", [1])], [("done", "INT64", [1])])
    return root


def _model(
    root: Path,
    name: str,
    graph: bytes,
    inputs: Sequence[Field],
    outputs: Sequence[Field],
    *,
    batch: int = 0,
    optional: str = "",
    more: str = "",
) -> None:
    (root / name).mkdir(parents=True)
    config = [f'name: "{name}"', 'backend: "onnxruntime"', f"max_batch_size: {batch}", more]
    for side, fields in (("input", inputs), ("output", outputs)):
        for field, datatype, dims in fields:
            kind = "STRING" if datatype == "BYTES" else datatype
            extra = "" if dims else " reshape { shape: [] }"
            extra += " optional: true" if side == "input" and field == optional else ""
            config.append(
                f'{side} {{ name: "{field}" data_type: TYPE_{kind} dims: {list(dims) or [1]}'
                f"{extra} }}"
            )
    (root / name / "config.pbtxt").write_text("\n".join(config))
    _version(root, name, 1, graph)


def _version(root: Path, name: str, version: int, graph: bytes) -> None:
    folder = root / name / str(version)
    folder.mkdir()
    (folder / "model.onnx").write_bytes(graph)


def _parsed(text: str) -> bytes:
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]> {text}')
    serialized: bytes = model.SerializeToString()
    return serialized


def _times_two() -> bytes:
    return _parsed(
        """graph (float[n, 3] x) => (float[n, 3] y) {
             two = Constant <value = float {2.0}> ()
             y = Mul (x, two)
           }"""
    )


def _every_type() -> bytes:
    """Each `out_X` is `in_X`."""
    inputs = ", ".join(f"{word}[n_{t}, m_{t}] in_{t}" for t, (_, word) in DATATYPES.items())
    outputs = ", ".join(f"{word}[n_{t}, m_{t}] out_{t}" for t, (_, word) in DATATYPES.items())
    nodes = "\n".join(f"out_{t} = Identity (in_{t})" for t in DATATYPES)
    return _parsed(f"graph ({inputs}) => ({outputs}) {{ {nodes} }}")


def _slow() -> bytes:
    """Takes INT64 `steps` [1], counts so far one by one, and gives it back: about 1 µs a step."""
    return _parsed(
        """graph (int64[1] steps) => (int64[1] done) {
             yes = Constant <value = bool {1}> ()
             zero = Constant <value = int64[1] {0}> ()
             done = Loop (steps, yes, zero) <body = body (int64 i, bool c, int64[1] n)
                    => (bool go, int64[1] next) {
               go = Identity (c)
               one = Constant <value = int64[1] {1}> ()
               next = Add (n, one)
             }>
           }"""
    )
