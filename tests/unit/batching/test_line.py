from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.batching.line import Line
from service.batching.member import Member
from tests.unit import doubles


def member(
    kind: str = "a", rows: int = 1, priority: int = 1, caller: int = 0, size: int = 0
) -> Member:
    """Somebody who waits."""
    return doubles.member(rows, kind=kind, priority=priority, caller=caller, size=size)


def line(*members: Member) -> Line:
    """Those, in that order."""
    found = Line()
    for one in members:
        found.join(one)
    return found


def test_a_higher_priority_goes_first() -> None:
    """Whoever came before; and of the same kind the others fill the batch up."""
    low, high, late = member(priority=2), member(priority=1), member(priority=2)
    found = line(low, high, late)
    assert found.take(found.next_kind(), 2) == ([high, low], [])
    assert found.take(found.next_kind(), 2) == ([late], [])


def test_kinds_take_turns() -> None:
    """One that is never empty does not keep the others from the engine."""
    found = line(*(member("a") for _ in range(4)), member("b"))
    turns = []
    while found.members:
        kind = found.next_kind()
        turns.append((kind, len(found.take(kind, 2)[0])))
    assert turns == [("a", 2), ("b", 1), ("a", 2)]


def test_who_has_more_rows_than_a_batch_goes_alone() -> None:
    """It was valid when it came."""
    large, small = member(rows=9), member()
    found = line(large, small)
    assert found.take("a", 4)[0] == [large]
    assert found.take("a", 4)[0] == [small]


def test_rows_ahead_are_those_of_no_lower_priority() -> None:
    """Only they are served before."""
    found = line(member(rows=2, priority=1), member(rows=3, priority=2), member(rows=5, priority=4))
    assert [found.rows_ahead(priority) for priority in (1, 2, 3, 4)] == [2, 5, 5, 10]
    assert line().rows_ahead(1) == 0
    assert line(member(rows=2, priority=3)).rows_ahead(2) == 0


def test_callers_take_turns() -> None:
    """One with many requests is to the others as one with a single one."""
    greedy = [member(caller=1) for _ in range(6)]
    calm, single = member(caller=2), member()
    found = line(*greedy[:4], calm, single, *greedy[4:])
    assert list(found.of("a")) == [greedy[0], calm, single, *greedy[1:]]
    assert found.take("a", 2)[0] == [greedy[0], calm]
    assert found.take("a", 2)[0] == [single, greedy[1]]
    late = member(caller=2)
    found.join(late)
    assert found.take("a", 2)[0] == [greedy[2], late]  # greedy's turn has come again
    assert found.take("a", 8)[0] == greedy[3:]


def test_who_was_served_goes_behind_who_was_not() -> None:
    """Also where the batch ends in the middle of a round."""
    found = line(*(member(caller=caller, size=caller) for caller in (1, 1, 2, 2, 3, 3)))
    turns = [found.take("a", 2)[0] for _ in range(3)]
    assert [[one.caller for one in batch] for batch in turns] == [[1, 2], [3, 1], [2, 3]]


def test_members_of_one_request_each_go_in_the_order_in_which_they_came() -> None:
    """With a caller or without."""
    ones = [member(caller=caller) for caller in (3, 0, 1, 0, 2)]
    assert line(*ones).take("a", 9)[0] == ones


def test_before_a_caller_go_no_more_of_another_than_of_itself() -> None:
    """So a calm one is not refused for the sake of a greedy one."""
    found = line(*(member(caller=1) for _ in range(50)), member(caller=2))
    assert found.rows_ahead(1, caller=3) == 2
    assert found.rows_ahead(1, caller=2) == 4
    assert found.rows_ahead(1, caller=0) == 2
    assert found.rows_ahead(1, caller=1) == 51
    found = line(*(member() for _ in range(50)))
    assert found.rows_ahead(1, caller=3) == found.rows_ahead(1) == 50


def test_a_batch_is_bounded_in_bytes() -> None:
    """A single member may have more, and goes alone."""
    large, *small = line_of = [member(size=size) for size in (900, 300, 300, 300)]
    found = line(*line_of)
    assert found.take("a", 8, 700)[0] == [large]
    assert found.take("a", 8, 700)[0] == small[:2]
    assert found.take("a", 8, 700)[0] == small[2:]


def test_who_waited_in_vain_takes_no_place_in_a_batch() -> None:
    """It is off the line all the same."""
    ones = [member(rows=rows) for rows in (1, 2, 1, 2, 1)]
    found = line(*ones)
    assert found.take("a", 3, in_vain=lambda one: one.rows == 2) == (
        [ones[0], ones[2], ones[4]],
        [ones[1], ones[3]],
    )
    assert found.members == found.rows == 0


JOINS = st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))


@given(st.lists(JOINS | st.integers(0, 5), max_size=60))
def test_nobody_is_lost_or_served_twice(steps: list[tuple[str, int, int, int] | int]) -> None:
    """After any comings, leavings and batches; and the counts are right."""
    found, waiting, served = Line(), [], []
    for step in steps:
        if isinstance(step, tuple):
            waiting.append(member(*step))
            found.join(waiting[-1])
        elif step == 0 and waiting:
            gone = waiting.pop(len(waiting) // 2)
            found.leave(gone)
            found.leave(gone)
        elif found.members:
            taken, _ = found.take(found.next_kind(), max(step, 1))
            assert taken
            assert len({one.kind for one in taken}) == 1
            served += taken
            for one in taken:
                waiting.remove(one)
        assert found.members == len(waiting)
        assert found.rows == sum(one.rows for one in waiting)
        for caller in (0, 1, 2, 3):
            assert found.rows_ahead(3, caller) <= found.rows
        assert sum(found._callers.values()) + found._single == len(waiting)
        for kind in "abc":
            assert [one for one in found.of(kind) if one not in waiting] == []
            assert found.rows_of(kind) == sum(one.rows for one in waiting if one.kind == kind)
    assert len(set(map(id, served))) == len(served)
