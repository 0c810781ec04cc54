"""The small model of the published figures: an MLP of 64, 256, 256 and 16 units."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_UNITS = (64, 256, 256, 16)
INPUT, OUTPUT = "x", "y"


def repository(folder: Path, *, triton_batches: bool, policy: str = "gateway") -> Path:
    """A model repository with the one model `mlp`.

    Args:
        folder: where to write it.
        triton_batches: whether Triton's own dynamic batching is on, as it is where nobody
            batches in front of it.
        policy: its `lupine.batching`.
    """
    version = folder / "mlp" / "1"
    version.mkdir(parents=True)
    onnx.save(_graph(), version / "model.onnx")
    batching = "dynamic_batching { }\n" if triton_batches else ""
    (folder / "mlp" / "config.pbtxt").write_text(
        'backend: "onnxruntime"\nmax_batch_size: 64\n'
        f'input [ {{ name: "{INPUT}" data_type: TYPE_FP32 dims: [ {_UNITS[0]} ] }} ]\n'
        f'output [ {{ name: "{OUTPUT}" data_type: TYPE_FP32 dims: [ {_UNITS[-1]} ] }} ]\n{batching}'
        f'parameters {{ key: "lupine.batching" value: {{ string_value: "{policy}" }} }}\n'
    )
    return folder


def forward(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the model makes of `rows`, computed here: the reference for every answer."""
    *hidden, last = _weights()
    for weight in hidden:
        rows = np.maximum(rows @ weight, 0)
    found: np.ndarray[Any, Any] = rows @ last
    return found


@functools.cache
def _weights() -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(64)
    return [random.normal(0, 0.1, layer).astype("f4") for layer in itertools.pairwise(_UNITS)]


def _graph() -> onnx.ModelProto:
    nodes, weights, tensor = [], [], INPUT
    for i, weight in enumerate(_weights()):
        last = i == len(_weights()) - 1
        weights.append(numpy_helper.from_array(weight, f"w{i}"))
        product = OUTPUT if last else f"h{i}"
        nodes.append(helper.make_node("MatMul", [tensor, f"w{i}"], [product]))
        if not last:
            nodes.append(helper.make_node("Relu", [product], [f"r{i}"]))
            tensor = f"r{i}"
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", _UNITS[0]])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", _UNITS[-1]])],
        weights,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, producer_name="lupine"
    )
