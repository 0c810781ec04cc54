"""Requests joined along the batch axis."""

from __future__ import annotations

import numpy as np
import pytest

from service.protocol.concat import concat, concat_into, joined_shape
from service.protocol.datatypes import Datatype
from service.protocol.messages import Tensor
from tests.unit.doubles import fp32


@pytest.mark.parametrize("datatype", Datatype)
def test_requests_are_joined_in_order(datatype: Datatype) -> None:
    """Along the first axis, in their own datatype."""
    parts = [np.array(v, np.int8).astype(datatype.dtype) for v in ([[0]], [[1], [1]], [[0]])]
    found = concat([{"x": Tensor(datatype, part)} for part in parts])["x"]
    assert found.datatype is datatype
    assert found.array.dtype == datatype.dtype
    assert found.array.astype(np.int8).tolist() == [[0], [1], [1], [0]]


def test_inputs_are_joined_by_name() -> None:
    """Not by the order in which each request happens to name them."""
    first = {"a": fp32([[1]]), "b": fp32([[2]])}
    second = {"b": fp32([[4]]), "a": fp32([[3]])}
    found = concat([first, second])
    assert found["a"].array.tolist() == [[1], [3]]
    assert found["b"].array.tolist() == [[2], [4]]


def test_one_request_alone_is_not_copied() -> None:
    """It goes as it came."""
    alone = {"x": fp32([[1]])}
    assert concat([alone]) is alone


@pytest.mark.parametrize("datatype", [d for d in Datatype if d is not Datatype.BYTES])
@pytest.mark.parametrize("rows", [[1], [3], [1, 2], [2, 1, 4]])
def test_requests_are_joined_where_there_is_room(datatype: Datatype, rows: list[int]) -> None:
    """The same as a new array would hold."""
    parts = [
        np.full((count, 2), i % 2, np.int8).astype(datatype.dtype) for i, count in enumerate(rows)
    ]
    found = np.empty(joined_shape(parts), datatype.dtype)
    concat_into(parts, found)
    assert found.shape == (sum(rows), 2)
    assert np.array_equal(found, np.concatenate(parts))


def test_nothing_is_converted_on_the_way() -> None:
    """Values of another type would arrive as other values."""
    for parts in ([np.zeros(2, np.int32)], [np.zeros(1, np.int32), np.zeros(1, np.int32)]):
        with pytest.raises(TypeError):
            concat_into(parts, np.empty(2, np.float32))
