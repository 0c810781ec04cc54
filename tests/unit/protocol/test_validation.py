from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from service.errors import InvalidRequestError
from service.protocol import validation
from service.protocol.datatypes import Datatype
from service.protocol.messages import Servable, Tensor
from tests.unit.doubles import request, servable, spec

BATCHING = servable(
    inputs=[spec("a", "FP32", (-1, 3)), spec("b", "INT64", (-1, -1))],
    outputs=[spec("y", "FP32", (-1, 3))],
    max_batch_size=4,
)


def tensors(rows_a: int, rows_b: int | None = None) -> dict[str, Tensor]:
    rows_b = rows_a if rows_b is None else rows_b
    return {
        "a": Tensor(Datatype.FP32, np.zeros((rows_a, 3), np.float32)),
        "b": Tensor(Datatype.INT64, np.zeros((rows_b, 7), np.int64)),
    }


def refusal(
    given: Mapping[str, Tensor], model: Servable = BATCHING, outputs: Sequence[str] = ()
) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        validation.check(request(given, outputs=tuple(outputs)), model)
    return refused.value.message


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_a_request_that_fits_is_counted_in_rows(rows: int) -> None:
    """The rows are the size of the leading axis."""
    assert validation.check(request(tensors(rows)), BATCHING) == rows


def test_a_model_without_a_batch_axis_takes_one_row() -> None:
    """Whatever its first axis says."""
    model = servable(max_batch_size=0, inputs=[spec("x", "FP32", (5,))])
    given = {"x": Tensor(Datatype.FP32, np.zeros(5, np.float32))}
    assert validation.check(request(given), model) == 1


def test_a_scalar_input_is_fine_without_a_batch_axis() -> None:
    """An empty shape has no leading axis to look at."""
    model = servable(max_batch_size=0, inputs=[spec("x", "FP32", ())])
    given = {"x": Tensor(Datatype.FP32, np.zeros((), np.float32))}
    assert validation.check(request(given), model) == 1


def test_an_optional_input_may_be_left_out() -> None:
    """And may be given."""
    model = servable(
        max_batch_size=0,
        inputs=[spec("x", "FP32", (1,)), spec("bias", "FP32", (1,), optional=True)],
    )
    one = Tensor(Datatype.FP32, np.zeros(1, np.float32))
    assert validation.check(request({"x": one}), model) == 1
    assert validation.check(request({"x": one, "bias": one}), model) == 1


def test_a_missing_input_is_named_with_its_type_and_shape() -> None:
    """The refusal tells what to send."""
    given = tensors(1)
    del given["b"]
    text = refusal(given)
    assert "'m' needs input 'b' (INT64 [-1, -1])" in text


def test_an_unknown_input_is_named_beside_the_known_ones() -> None:
    """The refusal tells what the model takes."""
    given = tensors(1)
    text = refusal(given | {"c": given["a"]})
    assert "has no input 'c'" in text
    assert "'a', 'b'" in text


def test_an_unknown_output_is_named_beside_the_known_ones() -> None:
    """The refusal tells what the model gives."""
    text = refusal(tensors(1), outputs=["y", "z"])
    assert "has no output 'z'" in text
    assert "it gives 'y'" in text


def test_a_wrong_datatype_is_named_beside_the_right_one() -> None:
    """Nothing is converted in silence."""
    given = tensors(1) | {"a": Tensor(Datatype.FP64, np.zeros((1, 3)))}
    text = refusal(given)
    assert "'a'" in text
    assert "is FP32, got FP64" in text


@pytest.mark.parametrize("shape", [(1, 4), (1,), (1, 3, 1), ()])
def test_a_wrong_shape_is_named_beside_the_right_one(shape: tuple[int, ...]) -> None:
    """A wrong size and a wrong rank alike."""
    given = tensors(1) | {"a": Tensor(Datatype.FP32, np.zeros(shape, np.float32))}
    text = refusal(given)
    assert "[-1, 3]" in text
    assert f"got {list(shape)}" in text


def test_inputs_that_disagree_on_the_rows_are_refused_with_their_counts() -> None:
    """Each input's count is named."""
    assert "{'a': 1, 'b': 2}" in refusal(tensors(1, 2))


@pytest.mark.parametrize("rows", [0, 5])
def test_too_few_or_too_many_rows_are_refused_with_the_bounds(rows: int) -> None:
    """A model that takes 4 rows takes neither none nor 5."""
    text = refusal(tensors(rows))
    assert "1 to 4 rows" in text
    assert f"got {rows}" in text


def test_a_request_without_inputs_has_no_rows() -> None:
    """A batching model whose inputs are all optional still needs a row."""
    model = servable(inputs=[spec("x", "FP32", (-1, 1), optional=True)])
    assert "got 0" in refusal({}, model)


def test_a_long_name_is_shown_in_part() -> None:
    """A refusal stays short."""
    given = tensors(1)
    assert len(refusal(given | {"n" * 100_000: given["a"]})) < 600
