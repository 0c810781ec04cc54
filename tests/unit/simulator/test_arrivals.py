from __future__ import annotations

import numpy as np
import pytest

from service.simulator.arrivals import Arrivals, bursty, on_off, poisson, recorded

RECORDING = np.cumsum(np.random.default_rng(5).exponential(0.3, 200)).tolist()
ALL = {
    "poisson": poisson,
    "bursty": bursty(6),
    "on_off": on_off(0.05, 0.1),
    "recorded": recorded(RECORDING),
}


@pytest.mark.parametrize("arrivals", ALL.values(), ids=ALL.keys())
@pytest.mark.parametrize("rate", [20.0, 300.0])
def test_requests_come_in_order_at_the_mean_rate(arrivals: Arrivals, rate: float) -> None:
    """Within the time, whatever the process."""
    times = arrivals(rate, 100.0, np.random.default_rng(1))
    assert len(times) == pytest.approx(rate * 100, rel=0.1)
    assert np.all(np.diff(times) >= 0)
    assert times[0] >= 0
    assert times[-1] < 100.0


@pytest.mark.parametrize("arrivals", ALL.values(), ids=ALL.keys())
def test_the_random_numbers_decide(arrivals: Arrivals) -> None:
    """The same give the same times, others others."""
    once, again, other = (arrivals(40.0, 5.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_poisson_counts_vary_as_much_as_they_are_on_average() -> None:
    """Those of bursts and silences vary by far more."""

    def dispersion(arrivals: Arrivals) -> float:
        times = arrivals(50.0, 400.0, np.random.default_rng(3))
        counts = np.histogram(times, np.arange(0.0, 401.0))[0]
        return float(counts.var() / counts.mean())

    assert dispersion(poisson) == pytest.approx(1.0, abs=0.2)
    assert dispersion(bursty(6)) > 4
    assert dispersion(on_off(0.5, 1.0)) > 4


def test_bursts_come_at_one_moment() -> None:
    """So many together, on average."""
    times = bursty(6)(60.0, 200.0, np.random.default_rng(2))
    assert len(times) / len(np.unique(times)) == pytest.approx(6, rel=0.1)


def test_a_recording_keeps_its_shape_at_another_rate() -> None:
    """Two, a pause, two: gaps keep their proportions."""
    times = recorded([0.0, 1.0, 4.0, 5.0])(8.0, 30.0, np.random.default_rng(4))
    gaps = np.diff(times)
    short = gaps.min()
    assert set(np.round(gaps / short, 6)) <= {1.0, 3.0, round(5 / 3, 6)}
