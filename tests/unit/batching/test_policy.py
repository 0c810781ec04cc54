from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from service.batching.policy import members_to_cut


def test_an_idle_engine_gets_what_there_is_at_once() -> None:
    """No batch waits to become larger."""
    assert members_to_cut([1], max_rows=8, in_flight=0, max_in_flight=1) == 1


def test_an_empty_queue_has_nothing_to_cut() -> None:
    """Whatever the engine could take."""
    assert members_to_cut([], max_rows=8, in_flight=0, max_in_flight=1) == 0


def test_a_busy_engine_gets_nothing_more() -> None:
    """What queues meanwhile goes together later."""
    assert members_to_cut([1, 1], max_rows=8, in_flight=2, max_in_flight=2) == 0


def test_a_batch_ends_before_the_member_that_does_not_fit() -> None:
    """Later members do not overtake it."""
    assert members_to_cut([3, 4, 2, 1], max_rows=8, in_flight=0, max_in_flight=1) == 2


def test_a_full_batch_is_full() -> None:
    """To the last row."""
    assert members_to_cut([4, 4, 1], max_rows=8, in_flight=0, max_in_flight=1) == 2


def test_only_as_many_members_are_looked_at_as_fit() -> None:
    """A queue of thousands costs no more than a batch."""
    looked = count()
    members_to_cut((1 for _ in zip(range(10_000), looked, strict=False)),
                   max_rows=4, in_flight=0, max_in_flight=1)  # fmt: skip
    assert next(looked) <= 6


@given(
    st.lists(st.integers(1, 8), max_size=30),
    st.integers(8, 20),
    st.integers(0, 3),
    st.integers(1, 3),
)
def test_a_cut_is_the_longest_that_fits(
    rows: list[int], max_rows: int, in_flight: int, max_in_flight: int
) -> None:
    """Oldest first, and never over the rows or the runs allowed."""
    cut = members_to_cut(rows, max_rows=max_rows, in_flight=in_flight, max_in_flight=max_in_flight)
    if in_flight >= max_in_flight:
        assert cut == 0
    else:
        assert sum(rows[:cut]) <= max_rows
        assert cut == len(rows) or sum(rows[: cut + 1]) > max_rows
