"""Export of small networks: what comes out answers alike, tells of no machine, and repeats."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from models.catalog import ModelError, find
from models.export import export
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
