"""Conditionals give way to the branch that they always take, and to none if it varies."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.conditionals import inlined
from models.specification import ModelError
from models.verify import run, session


def adding(name: str, amount: float, inner: list[Any] | None = None) -> Any:
    """A branch that adds to `x`, or does what `inner` does."""
    out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
    weight = helper.make_tensor(f"{name}_w", TensorProto.FLOAT, [], [amount])
    node = helper.make_node("Add", ["x", f"{name}_w"], [f"{name}_y"])
    return helper.make_graph(inner or [node], name, [], [out], [weight])


def model(axis: int) -> Any:
    """`x` plus 1, 2 or 4 by two nested conditionals on a size of `x`: is it 3, is it at least 2?"""
    three = helper.make_tensor("three", TensorProto.INT64, [], [3])
    two = helper.make_tensor("two", TensorProto.INT64, [], [2])
    at = helper.make_tensor("at", TensorProto.INT64, [], [axis])
    nested = helper.make_node(
        "If",
        ["is_many"],
        ["yes_y"],
        then_branch=adding("many", 1.0),
        else_branch=adding("few", 2.0),
    )
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "at"], ["size"]),
        helper.make_node("Equal", ["size", "three"], ["is_three"]),
        helper.make_node("GreaterOrEqual", ["size", "two"], ["is_many"]),
        helper.make_node(
            "If",
            ["is_three"],
            ["y"],
            then_branch=adding("yes", 0.0, [nested]),
            else_branch=adding("no", 4.0),
        ),
    ]
    edges = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")
    ]
    graph = helper.make_graph(nodes, "g", edges[:1], edges[1:], [three, two, at])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def rows(count: int) -> dict[str, np.ndarray]:
    return {"x": np.zeros((count, 3), np.float32)}


def test_what_is_always_so_is_decided() -> None:
    """Nested conditionals on a fixed size are gone, with the weights of the branches not taken."""
    made = inlined(model(axis=1), [rows(1), rows(2)])
    assert {node.op_type for node in made.graph.node}.isdisjoint({"If"})
    content = made.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    assert run(session(content), rows(5))["y"].tolist() == [[1.0] * 3] * 5
    assert {tensor.name for tensor in made.graph.initializer} == {"three", "two", "at"}


def test_what_depends_on_the_request_stays() -> None:
    """A condition on the number of rows is no constant, and the graph is refused."""
    with pytest.raises(ModelError, match="'is_three' depends on what is asked"):
        inlined(model(axis=0), [rows(2), rows(3)])
