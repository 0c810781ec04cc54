from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching import merge
from service.errors import EngineError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Tensor
from tests.unit.doubles import fp32


@pytest.mark.parametrize("datatype", Datatype)
def test_requests_are_joined_in_order(datatype: Datatype) -> None:
    """Along the first axis, in their own datatype."""
    parts = [np.array(v, np.int8).astype(datatype.dtype) for v in ([[0]], [[1], [1]], [[0]])]
    found = merge.concat([{"x": Tensor(datatype, part)} for part in parts])["x"]
    assert found.datatype is datatype
    assert found.array.dtype == datatype.dtype
    assert found.array.astype(np.int8).tolist() == [[0], [1], [1], [0]]


def test_inputs_are_joined_by_name() -> None:
    """Not by the order in which each request happens to name them."""
    first = {"a": fp32([[1]]), "b": fp32([[2]])}
    second = {"b": fp32([[4]]), "a": fp32([[3]])}
    found = merge.concat([first, second])
    assert found["a"].array.tolist() == [[1], [3]]
    assert found["b"].array.tolist() == [[2], [4]]


def test_one_request_alone_is_not_copied() -> None:
    """Neither in nor out."""
    alone = {"x": fp32([[1]])}
    assert merge.concat([alone]) is alone
    assert merge.split(alone, [1]) == [alone]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_what_was_joined_comes_apart_again(rows: list[int]) -> None:
    """Each request gets its own rows back, as views."""
    members = [{"x": fp32(np.full((count, 2), i))} for i, count in enumerate(rows)]
    joined = merge.concat(members)
    parts = merge.split(joined, rows)
    assert len(parts) == len(members)
    for part, member in zip(parts, members, strict=True):
        assert np.array_equal(part["x"].array, member["x"].array)
        assert np.shares_memory(part["x"].array, joined["x"].array)


@pytest.mark.parametrize("shape", [(), (2, 3), (4, 3)])
@pytest.mark.parametrize("rows", [[1, 2], [3]])
def test_an_output_with_other_rows_is_the_engines_failure(
    shape: tuple[int, ...], rows: list[int]
) -> None:
    """3 rows went in, so 3 must come out, for one request as for many."""
    with pytest.raises(EngineError) as refused:
        merge.split({"y": fp32(np.zeros(shape))}, rows)
    assert f"output 'y' has shape {list(shape)}: 3 rows went in" in refused.value.message
