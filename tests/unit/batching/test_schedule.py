from __future__ import annotations

import math

import pytest

from service import admission
from service.admission import Promise
from service.batching.member import Member
from service.batching.policy import FULL, IDLE_ENGINE
from service.batching.schedule import Cut, Schedule
from service.errors import DeadlineError
from tests.unit import doubles


def member(
    at: float = 0.0, rows: int = 1, *, slo: float = math.inf, size: int = 0, caller: int = 0
) -> Member:
    """A request that came at that moment."""
    return doubles.member(
        rows, deadline=at + 2 * slo, until=at + slo, queued=at, size=size, caller=caller
    )


def schedule(rows: int = 8, in_flight: int = 4, *, instances: int = 1, size: int = 0) -> Schedule:
    """Of an idle engine that has never run; 0 bytes: as many as there are."""
    return Schedule(rows=rows, instances=instances, in_flight=in_flight, size=size or math.inf)


def cut(found: Schedule, now: float = 0.0) -> Cut:
    """What leaves now."""
    decision = found.decide(now)
    assert isinstance(decision, Cut)
    return decision


def ran(found: Schedule, begun: float, seconds: float, rows: int = 1) -> None:
    """A run of the engine, alone."""
    batch = found.send([member(begun, rows)], begun)
    found.learn(batch, begun + seconds)
    found.ended(batch, begun + seconds)


def admitted(found: Schedule, now: float, deadline: float) -> bool:
    """Whether a request with that deadline is let in."""
    try:
        admission.check("m", Promise(deadline=deadline), found.forecast(1, 1, now))
    except DeadlineError:
        return False
    return True


# ------------------------------------------------------------------ what is cut


def test_what_waits_leaves_for_an_idle_engine_at_once() -> None:
    """And nothing is left to decide."""
    found = schedule()
    ones = [member(), member()]
    for one in ones:
        found.line.join(one)
    decision = cut(found)
    assert (decision.members, decision.reason, decision.late) == (ones, IDLE_ENGINE, [])
    assert found.decide(0.0) == math.inf
    assert found.idle


def test_while_all_places_are_taken_nothing_leaves() -> None:
    """However much waits: only the end of a batch changes that."""
    found = schedule(rows=2, in_flight=2)
    sent = [found.send([member()], 0.0) for _ in range(2)]
    for _ in range(5):
        found.line.join(member())
    assert found.decide(9.0) == math.inf
    assert found.ended(sent[0], 9.0)
    assert not found.ended(sent[0], 9.0)
    assert len(cut(found, 9.0).members) == 2


def test_a_batch_that_is_full_in_bytes_leaves_as_full() -> None:
    """Its rows may be few; whoever does not fit is in the next."""
    found = schedule(rows=100, size=1000)
    found.send([member()], 0.0)
    ran_long = found.cost
    for _ in range(4):
        ran_long.learn(1, 1.0)
    ones = [member(size=400) for _ in range(3)]
    for one in ones[:2]:
        found.line.join(one)
    assert isinstance(found.decide(0.0), float)  # the engine is busy: it gathers
    found.line.join(ones[2])
    decision = cut(found)
    assert (decision.members, decision.reason) == (ones[:2], FULL)


def test_a_request_larger_than_a_batch_goes_alone() -> None:
    """Nobody waits for ever."""
    found = schedule(rows=8, size=1000)
    ones = [member(size=5000), member(rows=20), member()]
    for one in ones:
        found.line.join(one)
    assert [cut(found).members for _ in ones] == [ones[:1], ones[1:2], ones[2:]]


def test_the_places_of_those_who_waited_in_vain_are_filled_by_others() -> None:
    """A batch is not small because many in the line are late."""
    found = schedule(rows=4)
    late = [member(0.0, slo=0.1) for _ in range(6)]
    good = [member(1.0, slo=0.1) for _ in range(5)]
    for one in (*late, *good):
        found.line.join(one)
    decision = cut(found, 1.0)
    assert decision.members == good[:4]
    assert decision.late == late


# ------------------------------------------------------------------ what is forecast


def test_a_slow_first_run_turns_nobody_away() -> None:
    """A cold start of two seconds is no reason to call a deadline of 150 ms too short."""
    found = schedule()
    ran(found, 0.0, 2.0)
    assert admitted(found, 2.0, 0.15)


def test_slow_runs_beside_fast_ones_turn_nobody_away() -> None:
    """Stalls, or runs behind others that were given up: any number, as long as one was fast."""
    found = schedule()
    for number in range(40):
        ran(found, number * 3.0, 0.01 if number % 16 == 7 else 2.0)
        assert admitted(found, number * 3.0 + 2.5, 0.15), number


def test_a_run_that_was_given_up_teaches_nothing() -> None:
    """It ended, but the engine did not answer it."""
    found = schedule()
    found.ended(found.send([member()], 0.0), 9.0)
    assert found.forecast(1, 1, 9.0).service == 0.0


def test_a_deadline_that_no_run_has_kept_is_refused_after_a_few() -> None:
    """It would be computed for nobody."""
    found = schedule()
    for number in range(8):
        assert admitted(found, number * 1.0, 0.15)
        ran(found, number * 1.0, 0.3)
    assert not admitted(found, 8.0, 0.15)
    assert admitted(found, 8.0, 0.4)


def test_a_model_that_has_become_fast_is_known_to_be_after_one_run() -> None:
    """Whoever has more time is let in, and so it is seen."""
    found = schedule()
    for number in range(30):
        ran(found, number * 1.0, 0.9)
    assert not admitted(found, 30.0, 0.15)
    for number in range(31, 35):  # a run of four settles what is known
        ran(found, number * 1.0, 0.01)
    assert admitted(found, 36.0, 0.15)


def test_the_forecast_of_a_calm_caller_leaves_a_greedy_one_behind() -> None:
    """It takes its turn before the greedy one's second."""
    found = schedule(rows=1)
    for number in range(8):
        ran(found, float(number), 0.1)
    for _ in range(50):
        found.line.join(member(9.0, caller=1))
    assert found.forecast(1, 1, 9.0, caller=1).wait == pytest.approx(5.0)
    assert found.forecast(1, 1, 9.0, caller=2).wait == pytest.approx(0.1)


def test_a_batch_is_forecast_to_be_as_large_as_the_last_ones_were() -> None:
    """It fills up behind the one who asks, but not with requests that do not come."""
    found = schedule(rows=8)
    for rows, seconds in ((1, 1.0), (8, 8.0)):
        for i in range(8):
            ran(found, 10.0 * i, seconds, rows)
    assert found.limits.rows == 1  # nothing is gained by more
    found = schedule(rows=8)
    for rows, seconds in ((1, 1.0), (8, 1.7), (2, 1.1)):
        for i in range(8):
            ran(found, 10.0 * i, seconds, rows)
    assert found.limits.rows == 8
    found.send([member(90.0, 2)], 90.0)
    found.line.join(member(90.0))
    usual = found.forecast(1, 1, 90.0)
    assert usual.service == pytest.approx(found.cost.seconds(2))
    for _ in range(3):
        found.line.join(member(90.0))
    assert found.forecast(1, 1, 90.0).service == pytest.approx(found.cost.seconds(5))


def test_batches_that_wait_in_the_engine_begin_when_the_one_before_ends() -> None:
    """Their cost is counted from then; one that overtakes tells nothing."""
    found = schedule(in_flight=2)
    first, second = found.send([member()], 0.0), found.send([member()], 0.0)
    assert (first.started, second.started) == (0.0, None)
    found.learn(second, 5.0)
    assert found.cost.seconds(1) == 0.0
    found.ended(first, 6.0)
    assert second.started == 6.0
