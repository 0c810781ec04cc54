from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.cost import CostCurve


def curve(*runs: tuple[int, float], times: int = 1) -> CostCurve:
    """What has been learned from these runs (rows, seconds)."""
    found = CostCurve()
    for _ in range(times):
        for rows, seconds in runs:
            found.learn(rows, seconds)
    return found


def test_nothing_is_known_of_a_model_that_has_not_run() -> None:
    """So it costs nothing, and any batch may be tried."""
    assert curve().seconds(8) == 0.0
    assert curve().worthwhile(64, 0.0) == 64


def test_between_sizes_it_is_a_line_and_beyond_them_it_goes_on() -> None:
    """Below the smallest it is as dear as that."""
    found = curve((2, 0.02), (8, 0.08))
    assert found.seconds(1) == pytest.approx(0.02)
    assert found.seconds(5) == pytest.approx(0.05)
    assert found.seconds(16) == pytest.approx(0.16)
    assert curve((4, 0.5)).seconds(64) == pytest.approx(0.5)  # of one size alone: flat


def test_an_outlier_changes_nothing() -> None:
    """One stall of two seconds among many runs."""
    found = curve((1, 0.01), times=31)
    found.learn(1, 2.0)
    assert found.seconds(1) == pytest.approx(0.01)


def test_a_drift_is_followed() -> None:
    """A model that has become twice as slow is so after as many runs as are remembered."""
    found = curve((1, 0.01), times=100)
    for _ in range(36):
        found.learn(1, 0.02)
    assert found.usual(1) == pytest.approx(0.02)


def test_what_is_promised_is_more_than_what_is_usual() -> None:
    """A high quantile beside the middle."""
    found = curve(*((1, 0.001 * n) for n in range(1, 31)))
    assert found.usual(1) == pytest.approx(0.015)
    assert found.seconds(1) == pytest.approx(0.027)


def test_a_batch_of_a_model_that_gains_nothing_stays_small() -> None:
    """Each row costs as much in company: the others would only wait."""
    found = curve((1, 0.010), (2, 0.020), (4, 0.040), (8, 0.080))
    assert found.worthwhile(64, 0.0) == 1


def test_a_batch_of_a_model_that_gains_is_as_large_as_it_may_be() -> None:
    """What a run costs is shared by its rows."""
    found = curve((1, 0.100), (8, 0.101), (64, 0.110))
    assert found.worthwhile(64, 0.0) == 64
    assert found.worthwhile(48, 0.0) == 48


def test_what_is_over_soon_holds_nobody_up() -> None:
    """A short batch may be large, although its rows gain nothing."""
    found = curve((1, 0.001), (2, 0.002), (4, 0.004), (8, 0.008))
    assert found.worthwhile(64, 0.005) == 4


def test_far_larger_batches_than_have_been_seen_are_tried_step_by_step() -> None:
    """Of one row alone nothing can be told about sixty-four."""
    assert curve((1, 0.01)).worthwhile(64, 0.0) == 8


RUNS = st.lists(st.tuples(st.integers(1, 300), st.floats(1e-5, 10)), min_size=1, max_size=80)


@given(RUNS, st.integers(1, 256))
def test_more_rows_never_cost_less(runs: list[tuple[int, float]], most: int) -> None:
    """However noisy the runs; and a worthwhile batch is one that may be."""
    found = curve(*runs)
    costs = [found.seconds(rows) for rows in range(1, 400, 7)]
    assert all(a <= b + 1e-9 for a, b in pairwise(costs))
    assert 1 <= found.worthwhile(most, 0.005) <= most
