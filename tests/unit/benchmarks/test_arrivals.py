from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, takewhile
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats

from benchmarks.load.arrivals import parts, share, times
from benchmarks.load.generator import Schedule, streams
from benchmarks.sla import Bursts, Constant, Limits, Poisson, Sla, Step, Steps, Target, Trace

RATE = 200.0


def target(**changes: Any) -> Target:
    return msgspec.structs.replace(
        Target(name="a", model="digits", limits=Limits(p99_ms=5), rate=RATE), **changes
    )


def until(end: float, stream: Iterator[float]) -> np.ndarray[Any, Any]:
    return np.array(list(takewhile(lambda at: at < end, stream)))


@pytest.mark.parametrize(
    "arrivals",
    [
        Poisson(),
        Constant(),
        Bursts(0.5, 2),
        Steps((Step(1, 1), Step(2, 0), Step(1, 3))),
    ],
)
def test_a_seed_decides_everything(arrivals: Any) -> None:
    """Streams ascend from 0, and another seed makes another one where there is chance."""
    one = target(arrivals=arrivals)
    first, same, other = (list(islice(times(one, seed), 3000)) for seed in (1, 1, 2))
    assert first == same
    assert (first == other) == isinstance(arrivals, Constant)
    assert first[0] >= 0
    assert first == sorted(first)


def test_independent_callers_leave_exponential_gaps() -> None:
    """By Kolmogorov and Smirnov, and neighbouring gaps have nothing to do with each other."""
    gaps = np.diff(list(islice(times(target(), 7), 20_000)))
    assert stats.kstest(gaps, "expon", args=(0, 1 / RATE)).pvalue > 0.01
    assert abs(stats.pearsonr(gaps[:-1], gaps[1:]).statistic) < 0.02


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, RATE),
        ({"rate": None, "users": 500, "think_seconds": 5.0}, 100),
        ({"arrivals": Bursts(0.1, 0.7)}, RATE),
        ({"arrivals": Steps((Step(1, 0.5), Step(3, 2.5)))}, 2 * RATE),
        ({"arrivals": Constant()}, RATE),
    ],
)
def test_the_rate_is_the_one_that_was_asked_for(changes: dict[str, Any], rate: float) -> None:
    """Within five standard deviations."""
    seconds = 140
    count = len(until(seconds, times(target(**changes), 3)))
    assert abs(count - seconds * rate) < 5 * np.sqrt(seconds * rate)


def test_bursts_come_in_the_first_part_of_each_period() -> None:
    """And are a Poisson process there, at a rate that makes up for the rest."""
    found = until(200, times(target(arrivals=Bursts(0.5, 2)), 5))
    assert (found % 2).max() <= 0.5 + 1e-9
    folded = found % 2 + found // 2 * 0.5  # without the gaps
    assert stats.kstest(np.diff(folded), "expon", args=(0, 0.25 / RATE)).pvalue > 0.01


def test_a_burst_may_last_the_whole_period() -> None:
    """Then it is none."""
    found = until(10, times(target(arrivals=Bursts(2, 2)), 5))
    assert abs(len(found) - 10 * RATE) < 5 * np.sqrt(10 * RATE)


def test_steps_climb_fall_and_begin_anew() -> None:
    """A step of factor 0 is silence."""
    found = until(60, times(target(arrivals=Steps((Step(1, 1), Step(1, 0), Step(1, 3)))), 5))
    counts = np.histogram(found % 3, [0, 1, 2, 3])[0]
    assert counts[1] == 0
    assert abs(counts[0] - 20 * RATE) < 5 * np.sqrt(20 * RATE)
    assert abs(counts[2] - 60 * RATE) < 5 * np.sqrt(60 * RATE)


def test_constant_arrivals_do_not_drift() -> None:
    """The millionth is where the millionth belongs."""
    found = next(islice(times(target(rate=3, arrivals=Constant()), 1), 999_999, None))
    assert found == 999_999 / 3


def test_a_trace_repeats_after_a_mean_gap() -> None:
    """It begins at 0, and may be played faster."""
    recorded = target(rate=None, arrivals=Trace("x"))
    assert list(islice(times(recorded, 1, [5, 6, 9]), 7)) == [0, 1, 4, 6, 7, 10, 12]
    faster = target(rate=None, arrivals=Trace("x", speed=2))
    assert list(islice(times(faster, 1, [5, 6, 9]), 4)) == [0, 0.5, 2, 3]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_shares_are_the_whole_and_nothing_is_in_two(workers: int) -> None:
    """Whatever the process."""
    one = target(arrivals=Bursts(1, 3))
    shares = [until(30, share(times(one, 4), part, workers)) for part in range(workers)]
    assert sorted(np.concatenate(shares)) == list(until(30, times(one, 4)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_only_processes_with_callers_get_a_part() -> None:
    """Locust may put all callers of a target into one process."""
    assert parts([3, 0, 2]) == [(0, 2), None, (1, 2)]
    assert parts([1]) == [(0, 1)]
    assert parts([0, 0]) == [None, None]


def sla(*targets: Target, warmup: float = 3.0) -> Sla:
    return Sla(target=targets, warmup_seconds=warmup, duration_seconds=10)


def test_targets_do_not_share_their_luck() -> None:
    """Two that are alike get different streams, from one seed the same each time."""
    both = sla(target(), target(name="b"))
    first, second = (until(5, one) for one in streams(both, 9, [[], []]))
    again, _ = (until(5, one) for one in streams(both, 9, [[], []]))
    assert list(first) == list(again)
    assert list(first[:100]) != list(second[:100])


def test_what_has_a_shape_begins_with_the_measured_time() -> None:
    """The warm-up before it is at the mean rate; nothing falls between the two."""
    burst = target(arrivals=Bursts(1, 10))
    recorded = target(rate=None, name="t", arrivals=Trace("x", speed=2))
    bursts, traced = streams(sla(burst, recorded), 2, [[], [7, 8, 9]])
    found = until(13, bursts)
    warm, rest = found[found < 3], found[found >= 3]
    assert abs(len(warm) - 3 * RATE) < 5 * np.sqrt(3 * RATE)
    assert rest.max() <= 4 + 1e-9
    found = until(13, traced)
    assert list(found[found >= 3][:5]) == [3, 3.5, 4, 4.5, 5]
    assert 0 < (found < 3).sum() < 20  # 2 a second


def test_a_schedule_ends_with_the_measured_time() -> None:
    """And stays ended, however often it is asked."""
    schedule = Schedule(iter([0.5, 1.0, 2.0, 0.1]), 2.0)
    told = [(schedule.next(), schedule.exhausted) for _ in range(4)]
    assert told == [(0.5, False), (1.0, False), (None, True), (None, True)]
    nothing = Schedule(iter(()), 2.0)
    assert nothing.next() is None
