from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching import merge
from service.errors import EngineError
from service.protocol.concat import concat
from tests.unit.doubles import fp32


def test_the_outputs_of_one_request_alone_are_its_own() -> None:
    """They go as they came."""
    alone = {"x": fp32([[1]])}
    assert merge.split(alone, [1]) == [alone]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_what_was_joined_comes_apart_again(rows: list[int]) -> None:
    """Each request gets its own rows back, as views."""
    members = [{"x": fp32(np.full((count, 2), i))} for i, count in enumerate(rows)]
    joined = concat(members)
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
