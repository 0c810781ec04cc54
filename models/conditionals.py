"""Takes conditionals out of an ONNX graph whose conditions always come out alike.

Exporters write `If` where a shape decided something in Python, as whether to squeeze an axis. With
fixed shapes the branch is fixed too; yet every run decides anew, and TensorRT builds no engine of
conditionals within conditionals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper

from models.specification import Arrays, ModelError
from models.verify import run, session

_ROUNDS = 10  # conditionals may hold conditionals


def inlined(model: Any, samples: Sequence[Arrays]) -> Any:
    """The graph with the branch that is taken in the place of each conditional; changed in place.

    Args:
        model: the `onnx.ModelProto`; names are unique over all of its branches.
        samples: inputs that differ in all that may differ between requests, such as their rows.

    Raises:
        ModelError: a condition depends on the sample, or conditionals are nested too deeply.
    """
    for _ in range(_ROUNDS):
        conditionals = [node for node in model.graph.node if node.op_type == "If"]
        if not conditionals:
            return _pruned(model)
        taken = _conditions(model, [node.input[0] for node in conditionals], samples)
        nodes = []
        for node in model.graph.node:
            nodes += _branch(node, taken[node.input[0]]) if node.op_type == "If" else [node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    raise ModelError(f"conditionals are nested more than {_ROUNDS} deep")


def _pruned(model: Any) -> Any:
    """Without the weights that only the other branches used."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def _conditions(model: Any, names: Sequence[str], samples: Sequence[Arrays]) -> dict[str, bool]:
    """What each condition is, the same for every sample."""
    looked_at = onnx.ModelProto()
    looked_at.CopyFrom(model)
    del looked_at.graph.output[:]
    wanted = sorted(set(names))
    looked_at.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.BOOL, None) for name in wanted
    )
    loaded = session(looked_at.SerializeToString())
    answers = [run(loaded, inputs) for inputs in samples]
    found = {name: {bool(answer[name].item()) for answer in answers} for name in wanted}
    for name, values in found.items():
        if len(values) > 1:
            raise ModelError(f"the condition {name!r} depends on what is asked: it has to stay")
    return {name: values.pop() for name, values in found.items()}


def _branch(node: Any, taken: bool) -> list[Any]:  # noqa: FBT001 - what a condition is
    """The nodes of one branch, and names for what it gives."""
    (graph,) = (
        attribute.g
        for attribute in node.attribute
        if attribute.name == ("then_branch" if taken else "else_branch")
    )
    named = zip(graph.output, node.output, strict=True)
    constants = [
        helper.make_node("Constant", [], [tensor.name], value=tensor)
        for tensor in graph.initializer
    ]
    passed_on = [helper.make_node("Identity", [inner.name], [outer]) for inner, outer in named]
    return [*constants, *graph.node, *passed_on]
