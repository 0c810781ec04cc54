from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.engines import echo
from service.engines.in_process import Stop
from service.errors import EngineError, InvalidRequestError, UnavailableError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Parameter, Tensor
from service.repository import config as model_config
from tests.unit.doubles import fp32


def opened(folder: Path, text: str, latency: float = 0.0) -> Any:
    (folder / "config.pbtxt").write_text(text)
    return echo.opener(latency)(model_config.read(folder), folder / "1")[1]


def field(side: str, name: str, datatype: str, dims: list[int]) -> str:
    return f'{side} {{ name: "{name}" data_type: TYPE_{datatype} dims: {dims} }}\n'


ROWS = (
    "max_batch_size: 4\n" + field("input", "a", "FP32", [-1]) + field("output", "b", "FP32", [-1])
)


def run(model: Any, *outputs: str, **inputs: Tensor) -> Any:
    return model.run(inputs, outputs or ("b",), {}, Stop())


def steered(model: Any, **parameters: Parameter) -> Any:
    given = {f"echo.{key}": value for key, value in parameters.items()}
    return model.run({"a": fp32([[1]])}, ("b",), given, Stop())


def test_an_output_is_the_input_of_its_place(tmp_path: Path) -> None:
    """By position, whatever their names."""
    given = fp32([[1, 2], [3, 4]])
    assert run(opened(tmp_path, ROWS), a=given)["b"] is given


def test_an_output_of_another_kind_is_zeros_with_the_rows_of_the_input(tmp_path: Path) -> None:
    """Any size is 1; BYTES are empty."""
    model = opened(
        tmp_path,
        ROWS + field("output", "c", "INT64", [-1, 3]) + field("output", "t", "STRING", [2]),
    )
    found = run(model, "c", "t", a=fp32([[1], [2]]))
    assert list(found) == ["c", "t"]
    assert found["c"].datatype is Datatype.INT64
    assert found["c"].array.tolist() == [[[0, 0, 0]], [[0, 0, 0]]]
    assert found["t"].array.tolist() == [[b"", b""], [b"", b""]]


def test_an_output_of_another_shape_is_zeros_too(tmp_path: Path) -> None:
    """The answer has the shape that the config promises."""
    text = "max_batch_size: 4\n" + field("input", "a", "FP32", [-1])
    model = opened(tmp_path, text + field("output", "b", "FP32", [3]))
    assert run(model, a=fp32([[1, 2]]))["b"].array.tolist() == [[0, 0, 0]]
    assert run(model, a=fp32([[1, 2, 3]]))["b"].array.tolist() == [[1, 2, 3]]


def test_without_a_batch_axis_the_dims_are_the_shape(tmp_path: Path) -> None:
    """No rows are put in front."""
    text = field("input", "a", "FP32", [2]) + field("output", "b", "INT8", [5])
    found = run(opened(tmp_path, text), a=fp32([1, 2]))["b"]
    assert found.array.tolist() == [0] * 5


@pytest.mark.parametrize("datatype", [d for d in Datatype if d is not Datatype.BYTES])
def test_every_datatype_echoes(tmp_path: Path, datatype: Datatype) -> None:
    """As itself."""
    text = field("input", "a", datatype.name, [2]) + field("output", "b", datatype.name, [2])
    given = Tensor(datatype, np.array([0, 1]).astype(datatype.dtype))
    assert run(opened(tmp_path, text), a=given)["b"] is given


@pytest.mark.parametrize("text", ["", field("input", "a", "FP32", [1]),
                                  field("output", "b", "FP32", [1])])  # fmt: skip
def test_a_model_without_inputs_or_outputs_is_refused(tmp_path: Path, text: str) -> None:
    """There is no graph to take them from."""
    with pytest.raises(InvalidRequestError, match=r"echo needs the inputs and outputs"):
        opened(tmp_path, text)


def test_a_run_takes_as_long_as_the_settings_say(tmp_path: Path) -> None:
    """Every run, unless the request says otherwise."""
    model = opened(tmp_path, ROWS, latency=0.02)
    started = time.perf_counter()
    steered(model)
    assert time.perf_counter() - started >= 0.02
    slow = opened(tmp_path, ROWS, latency=60.0)
    started = time.perf_counter()
    steered(slow, latency_ms=1)
    assert 0.001 <= time.perf_counter() - started < 1


@pytest.mark.parametrize("asked", [-1, 60_001, "soon", True])
def test_a_latency_that_is_none_is_refused(tmp_path: Path, asked: Parameter) -> None:
    """With the bounds."""
    with pytest.raises(InvalidRequestError) as refused:
        steered(opened(tmp_path, ROWS), latency_ms=asked)
    assert repr(asked) in refused.value.message
    assert "0 to 60000" in refused.value.message


def test_it_fails_on_demand(tmp_path: Path) -> None:
    """On the input, or as if the engine were gone."""
    model = opened(tmp_path, ROWS)
    with pytest.raises(EngineError):
        steered(model, fail="input")
    with pytest.raises(UnavailableError):
        steered(model, fail="away")


@pytest.mark.parametrize("asked", ["", "badly", 1])
def test_a_failure_that_it_does_not_know_is_refused(tmp_path: Path, asked: Parameter) -> None:
    """With those that it does."""
    with pytest.raises(InvalidRequestError, match="'input' or 'away'"):
        steered(opened(tmp_path, ROWS), fail=asked)
