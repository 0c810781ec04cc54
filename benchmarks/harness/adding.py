"""A model that says which version it is: version n adds n."""

from __future__ import annotations

from onnx import TensorProto, helper


def model(amount: float, columns: int = 1) -> bytes:
    """Takes FP32 `x` [n, columns]; gives `y`, of the same shape, `x` plus the amount."""
    amounts = helper.make_tensor("amount", TensorProto.FLOAT, [], [amount])
    edges = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", columns]) for n in ("x", "y")
    ]
    node = helper.make_node("Add", ["x", "amount"], ["y"])
    graph = helper.make_graph([node], "adding", edges[:1], edges[1:], [amounts])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())
