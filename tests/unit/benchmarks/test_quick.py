from __future__ import annotations

import pytest

from benchmarks import sla as slas
from benchmarks import sla_file
from benchmarks.quick import fewest, quick
from benchmarks.sla import Limits, Sla, Target


def sla(*targets: Target) -> Sla:
    return Sla(target=targets)


def test_it_takes_half_a_minute_at_most() -> None:
    """One repetition, held to less; what is short already stays as it is."""
    short = quick(sla_file.load(slas.DEFAULT))
    assert short.repetitions == 1
    assert short.confidence == 0.8
    assert short.warmup_seconds + short.duration_seconds + 2 * short.timeout_seconds < 30
    assert quick(short) == short


@pytest.mark.parametrize(
    ("p", "wrong", "count"), [(0.99, 0.05, 299), (0.95, 0.05, 59), (0.999, 0.05, 2995)]
)
def test_the_fewest_requests_that_show_a_quantile(p: float, wrong: float, count: int) -> None:
    """The textbook's numbers."""
    assert fewest(p, wrong) == count


def test_what_cannot_be_shown_is_left_out_and_named() -> None:
    """1,000 requests are too few for a p99 and enough for a p95; the goodput keeps its time."""
    limits = Limits(p95_ms=50, p99_ms=100, p999_ms=200, error_ratio=0, goodput_ratio=0.9)
    short = quick(sla(Target(name="slow", model="m", rate=50, limits=limits)))
    assert short.target[0].limits == Limits(
        p95_ms=50, error_ratio=0, goodput_ratio=0.9, goodput_ms=100
    )
    assert short.untried == ("slow: p99", "slow: p99.9")


def test_what_can_be_shown_is_tried() -> None:
    """Four thousand requests are enough for a p99."""
    limits = Limits(p99_ms=100, goodput_ratio=0.98)
    short = quick(sla(Target(name="fast", model="m", rate=200, limits=limits)))
    assert short.target[0].limits == limits
    assert short.untried == ()


def test_a_target_keeps_its_last_promise() -> None:
    """It stays open then, and the verdict says how many requests it needs."""
    limits = Limits(p99_ms=100)
    short = quick(sla(Target(name="rare", model="m", rate=1, limits=limits)))
    assert short.target[0].limits == limits
    assert short.untried == ()
