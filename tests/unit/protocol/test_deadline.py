from __future__ import annotations

import math

import pytest

from service.errors import InvalidRequestError
from service.protocol import deadline


def test_an_absent_header_sets_no_wait() -> None:
    """Without the header there is nothing to heed."""
    assert deadline.from_header(None) is None


def test_the_header_counts_milliseconds() -> None:
    """250 ms are a quarter of a second, and fractions are allowed."""
    assert deadline.from_header("250") == 0.25
    assert deadline.from_header("0.5") == 0.0005


@pytest.mark.parametrize("given", ["", "soon", "0", "-1", "nan", "inf", "86400001", "1s"])
def test_a_header_that_is_no_wait_is_refused_with_the_bounds(given: str) -> None:
    """The refusal names the header, what was given and what would be right."""
    with pytest.raises(InvalidRequestError) as refused:
        deadline.from_header(given)
    for part in (deadline.HEADER, repr(given), "above 0", "86400000"):
        assert part in refused.value.message


def test_the_earliest_wait_wins() -> None:
    """Of several waits the shortest sets the deadline, on the caller's clock."""
    assert deadline.earliest(3.0, None, 2.0, now=100.0) == 102.0


def test_no_wait_is_no_deadline() -> None:
    """Nothing given means waiting for ever."""
    assert deadline.earliest(None, None, now=100.0) == math.inf


def test_a_wait_over_a_day_is_cut_to_a_day() -> None:
    """So that no clock overflows."""
    assert deadline.earliest(1e30, now=0.0) == deadline.MAX_SECONDS
