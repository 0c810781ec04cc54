"""The small model of the published figures: an MLP of 64, 256, 256 and 16 units."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_UNITS = (64, 256, 256, 16)
INPUT, OUTPUT = "x", "y"


def repository(folder: Path, *, triton_batches: bool) -> Path:
    """A model repository with the one model `mlp`.

    Args:
        folder: where to write it.
        triton_batches: whether Triton's own dynamic batching is on, as it is where nobody
            batches in front of it.
    """
    version = folder / "mlp" / "1"
    version.mkdir(parents=True)
    onnx.save(_graph(), version / "model.onnx")
    batching = "dynamic_batching { }\n" if triton_batches else ""
    (folder / "mlp" / "config.pbtxt").write_text(
        'backend: "onnxruntime"\nmax_batch_size: 64\n'
        f'input [ {{ name: "{INPUT}" data_type: TYPE_FP32 dims: [ {_UNITS[0]} ] }} ]\n'
        f'output [ {{ name: "{OUTPUT}" data_type: TYPE_FP32 dims: [ {_UNITS[-1]} ] }} ]\n{batching}'
    )
    return folder


def _graph() -> onnx.ModelProto:
    random = np.random.default_rng(64)
    nodes, weights, tensor = [], [], INPUT
    layers = list(itertools.pairwise(_UNITS))
    for i, (size, units) in enumerate(layers):
        last = i == len(layers) - 1
        weights.append(
            numpy_helper.from_array(random.normal(0, 0.1, (size, units)).astype("f4"), f"w{i}")
        )
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
