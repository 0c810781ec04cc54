"""Export of small networks: what comes out answers alike, tells of no machine, and repeats."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from models.canonical import finish
from models.catalog import find
from models.export import export
from models.specification import ModelError
from models.verify import run, session
from service.protocol.datatypes import Datatype
from service.protocol.messages import TensorSpec

SPEC = dataclasses.replace(
    find("digits"),
    name="small",
    inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 4)),),
    outputs=(TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 3)),),
)
ROWS = {"x": np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def test_export_repeats_and_tells_of_no_machine() -> None:
    """The same weights give the same bytes, without doc strings, metadata or paths."""
    content = export(network(), SPEC, ROWS)
    assert content == export(network(), SPEC, ROWS)
    assert content != export(network(1), SPEC, ROWS)
    model = onnx.load_from_string(content)
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    assert b"site-packages" not in content
    assert __file__.encode() not in content


def test_export_has_a_named_batch_axis() -> None:
    """Any number of rows goes through, and the axis says what it is."""
    loaded = session(export(network(), SPEC, ROWS))
    assert loaded.get_inputs()[0].shape == ["batch", 4]
    assert run(loaded, {"x": np.zeros((5, 4), np.float32)})["y"].shape == (5, 3)


def test_export_that_does_not_fit_is_refused() -> None:
    """A network whose output has another shape than the spec promises is not exported."""
    wrong = dataclasses.replace(
        SPEC, outputs=(TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 7)),)
    )
    with pytest.raises(ModelError, match=r"'y' has shape \[-1, 7\] in the configuration"):
        export(network(), wrong, ROWS)


class Alternating(nn.Module):
    """Gives another answer each time it is called, as no export can."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 4] in, [n, 3] out."""
        self.calls += 1
        answer: torch.Tensor = self.linear(x) + self.calls
        return answer


def test_export_that_answers_otherwise_is_refused() -> None:
    """The export of a network that keeps state is caught by comparing answers."""
    with pytest.raises(ModelError, match=r"'small' at batch size \d+: 'y' is 1 off"):
        export(Alternating(), SPEC, ROWS)


def graph(*nodes: onnx.NodeProto, columns: int = 3, batch: object = "batch") -> onnx.ModelProto:
    """A graph by hand: `x` [batch, 4] in, `y` [batch, columns] out."""
    edges = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, columns]),
    ]
    weights = helper.make_tensor(
        "w", TensorProto.FLOAT, [4, 3], np.ones(12, np.float32).tobytes(), raw=True
    )
    made = helper.make_graph(nodes, "g", edges[:1], edges[1:], [weights])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


GOOD = helper.make_node("MatMul", ["x", "w"], ["y"])


def test_a_graph_by_hand_is_finished() -> None:
    """The graph that the next tests break is sound."""
    assert session(finish(graph(GOOD), SPEC))


def test_a_missing_operator_is_caught() -> None:
    """An operator that no operator set has is told by its name."""
    unknown = helper.make_node("Wishful", ["x", "w"], ["y"])
    with pytest.raises(ModelError, match=r"the graph of 'small' is invalid: .*Wishful"):
        finish(graph(unknown), SPEC)


def test_a_wrong_axis_is_caught() -> None:
    """A batch axis that was fixed, or is not the first, cannot be batched, and which edge it is."""
    with pytest.raises(ModelError, match=r"'small'.*'x'.*\[2, 4\]"):
        finish(graph(GOOD, batch=2), SPEC)


def test_lying_metadata_is_caught() -> None:
    """Declared shapes that the operators contradict are found by inferring them again."""
    with pytest.raises(ModelError, match=r"the graph of 'small' is invalid: .*\(3\) vs .*\(5\)|5"):
        finish(graph(GOOD, columns=5), SPEC)


def test_what_is_too_large_for_one_file_is_caught() -> None:
    """Over protobuf's 2 GiB nothing can be written, and the reason is not protobuf's."""
    with pytest.raises(ModelError, match=r"weighs 48 bytes, and one ONNX file holds at most 40"):
        finish(graph(GOOD), SPEC, limit_bytes=40)


def test_weights_in_another_file_are_caught() -> None:
    """External data would be outside of the hash, and a path that the registry could choose."""
    model = graph(GOOD)
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secrets")
    with pytest.raises(ModelError, match=r"keeps 1 tensors outside the file, 'w' first"):
        finish(model, SPEC)
