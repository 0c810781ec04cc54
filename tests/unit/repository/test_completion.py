"""The rules of completion, without a server; the integration tests hold Triton beside them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from service.repository.completion import (
    ConfigMismatchError,
    Graph,
    GraphTensor,
    check,
    complete,
    needs_completion,
)
from tests.completion_cases import CASES, Case

_ROWS = Graph(
    inputs=[GraphTensor("x", "tensor(float)", ("n", 3))],
    outputs=[GraphTensor("y", "tensor(float)", ("n", 3))],
)


@pytest.mark.parametrize("case", [c for c in CASES if not c.error], ids=lambda c: c.name)
def test_completes(case: Case) -> None:
    """What a configuration leaves out comes from the graph, and the result fits it."""
    completed = complete(case.config or {}, case.graph)
    assert completed["input"] == list(case.input)
    assert completed["output"] == list(case.output)
    assert completed.get("max_batch_size", 0) == case.max_batch_size
    assert ("dynamic_batching" in completed) is case.dynamic_batching
    check(completed, case.graph)


@pytest.mark.parametrize("case", [c for c in CASES if c.error], ids=lambda c: c.name)
def test_refuses(case: Case) -> None:
    """A contradiction is refused by the names of model and tensor."""
    config = {"name": case.name, **(case.config or {})}
    with pytest.raises(ConfigMismatchError) as refused:
        check(complete(config, case.graph), case.graph)
    assert case.error in str(refused.value)
    assert repr(case.name) in str(refused.value)


def test_completing_twice_changes_nothing() -> None:
    """A completed configuration has nothing left to complete."""
    once = complete({}, _ROWS)
    assert not needs_completion(once)
    assert complete(once, _ROWS) == once


def test_the_argument_stays_as_it_is() -> None:
    """Completion hands back a new configuration."""
    config: dict[str, Any] = {"parameters": {"lupine.pin": {"string_value": "true"}}}
    before = copy.deepcopy(config)
    completed = complete(config, _ROWS)
    assert config == before
    assert completed["parameters"] == before["parameters"]


@pytest.mark.parametrize(("default", "batching"), [(0, False), (1, False), (2, True), (32, True)])
def test_the_servers_default_batch_size(default: int, batching: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    """The server's default decides, and dynamic batching comes with more than one row."""
    completed = complete({}, _ROWS, default_max_batch_size=default)
    assert completed["max_batch_size"] == default
    assert ("dynamic_batching" in completed) is batching
    check(completed, _ROWS)


def test_a_sequence_model_gets_no_second_scheduler() -> None:
    """A chosen sequence scheduler stays the only one, and its controls count as fed inputs."""
    control = {"name": "start", "control": [{"kind": "CONTROL_SEQUENCE_START"}]}
    graph = Graph(
        inputs=[*_ROWS.inputs, GraphTensor("start", "tensor(float)", ("n", 1))],
        outputs=_ROWS.outputs,
    )
    config = {
        "max_batch_size": 8,
        "sequence_batching": {"control_input": [control]},
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}],
    }
    completed = complete(config, graph)
    assert "dynamic_batching" not in completed
    check(completed, graph)


def test_an_optional_input_cannot_batch() -> None:
    """The native backend has no optional inputs where there is a batch axis, nor has this."""
    graph = Graph(
        inputs=_ROWS.inputs,
        outputs=_ROWS.outputs,
        initializers=[GraphTensor("bias", "tensor(float)", ("n", 3))],
    )
    bias = {"name": "bias", "data_type": "TYPE_FP32", "dims": [3], "optional": True}
    x = {"name": "x", "data_type": "TYPE_FP32", "dims": [3]}
    with pytest.raises(ConfigMismatchError, match="'bias' is optional, which a model that batches"):
        check(complete({"input": [x, bias]}, graph), graph)


def test_sizes_may_come_as_text() -> None:
    """Protobuf writes 64-bit integers as text in JSON; they are read as the numbers they are."""
    config = {
        "max_batch_size": 4,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["3"]}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": ["3"]}],
    }
    check(config, _ROWS)
