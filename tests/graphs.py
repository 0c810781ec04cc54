"""Tiny ONNX graphs, each the least that shows one thing. All are built, none is read from disk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

Dims = Sequence[int | str] | None


def identity(element: int = TensorProto.FLOAT, dims: Dims = ("n", 3)) -> bytes:
    """`y` is `x`, of any type and shape."""
    return _model(
        [helper.make_node("Identity", ["x"], ["y"])],
        [_value("x", element, dims)],
        [_value("y", element, dims)],
    )


def sum_and_double() -> bytes:
    """Takes FP32 `x` [n, 3]; gives `total` [n], its sum, and `double` [n, 3]."""
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    return _model(
        [
            helper.make_node("ReduceSum", ["x", "axes"], ["total"], keepdims=0),
            helper.make_node("Add", ["x", "x"], ["double"]),
        ],
        [_value("x", TensorProto.FLOAT, ("n", 3))],
        [
            _value("total", TensorProto.FLOAT, ("n",)),
            _value("double", TensorProto.FLOAT, ("n", 3)),
        ],
        [axes],
    )


def lookup() -> bytes:
    """Takes INT64 `index` [n]; gives `value` [n], ten times the index. Fails from 4 on."""
    table = numpy_helper.from_array(np.arange(4, dtype=np.float32) * 10, "table")
    return _model(
        [helper.make_node("Gather", ["table", "index"], ["value"])],
        [_value("index", TensorProto.INT64, ("n",))],
        [_value("value", TensorProto.FLOAT, ("n",))],
        [table],
    )


def column_totals() -> bytes:
    """Takes FP32 `x` [n, 3]; gives `y` [3], the sum over the rows: it cannot batch."""
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    return _model(
        [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)],
        [_value("x", TensorProto.FLOAT, ("n", 3))],
        [_value("y", TensorProto.FLOAT, (3,))],
        [axes],
    )


def with_default_bias() -> bytes:
    """Takes FP32 `x` [3] and `bias` [3], which is 1, 2, 3 when not fed; gives their sum `y`."""
    bias = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "bias")
    values = [_value(name, TensorProto.FLOAT, (3,)) for name in ("x", "bias", "y")]
    return _model([helper.make_node("Add", ["x", "bias"], ["y"])], values[:2], values[2:], [bias])


def greeting() -> bytes:
    """Takes STRING `name` [n, 1] and BOOL `loud` [n, 1]; gives `text`, the name, and `quiet`."""
    return _model(
        [
            helper.make_node("Identity", ["name"], ["text"]),
            helper.make_node("Not", ["loud"], ["quiet"]),
        ],
        [_value("name", TensorProto.STRING, ("n", 1)), _value("loud", TensorProto.BOOL, ("n", 1))],
        [_value("text", TensorProto.STRING, ("n", 1)), _value("quiet", TensorProto.BOOL, ("n", 1))],
    )


def sequence_output() -> bytes:
    """Takes FP32 `x` [n, 3]; gives a sequence of tensors, which Triton cannot carry."""
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    output = helper.make_value_info("y", helper.make_sequence_type_proto(element))
    return _model(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        [_value("x", TensorProto.FLOAT, ("n", 3))],
        [output],
    )


def _value(name: str, element: int, dims: Dims) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, element, dims)


def _model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    initializers: Sequence[TensorProto] = (),
) -> bytes:
    graph: GraphProto = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    serialized: bytes = model.SerializeToString()
    return serialized
