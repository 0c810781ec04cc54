from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.batching.line import Line
from service.batching.member import Member
from tests.unit.doubles import servable

MODEL = servable()


def member(kind: str = "a", rows: int = 1, priority: int = 1) -> Member:
    """Somebody who waits."""
    return Member(
        servable=MODEL,
        inputs={},
        outputs=("y",),
        rows=rows,
        parameters={},
        deadline=1.0,
        answer=lambda _: None,
        priority=priority,
        kind=kind,
    )


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
    assert found.take(found.next_kind(), 2) == [high, low]
    assert found.take(found.next_kind(), 2) == [late]


def test_kinds_take_turns() -> None:
    """One that is never empty does not keep the others from the engine."""
    found = line(*(member("a") for _ in range(4)), member("b"))
    turns = []
    while found.members:
        kind = found.next_kind()
        turns.append((kind, len(found.take(kind, 2))))
    assert turns == [("a", 2), ("b", 1), ("a", 2)]


def test_who_has_more_rows_than_a_batch_goes_alone() -> None:
    """It was valid when it came."""
    large, small = member(rows=9), member()
    found = line(large, small)
    assert found.take("a", 4) == [large]
    assert found.take("a", 4) == [small]


def test_rows_ahead_are_those_of_no_lower_priority() -> None:
    """Only they are served before."""
    found = line(member(rows=2, priority=1), member(rows=3, priority=2), member(rows=5, priority=4))
    assert [found.rows_ahead(priority) for priority in (1, 2, 3, 4)] == [2, 5, 5, 10]
    assert line().rows_ahead(1) == 0
    assert line(member(rows=2, priority=3)).rows_ahead(2) == 0


JOINS = st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.integers(1, 3))


@given(st.lists(JOINS | st.integers(0, 5), max_size=60))
def test_nobody_is_lost_or_served_twice(steps: list[tuple[str, int, int] | int]) -> None:
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
            taken = found.take(found.next_kind(), max(step, 1))
            assert taken
            assert len({one.kind for one in taken}) == 1
            served += taken
            for one in taken:
                waiting.remove(one)
        assert found.members == len(waiting)
        assert found.rows == sum(one.rows for one in waiting)
        for kind in "abc":
            assert found.rows_of(kind) == sum(one.rows for one in waiting if one.kind == kind)
    assert len(set(map(id, served))) == len(served)
