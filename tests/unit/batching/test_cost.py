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
    """A high quantile beside the mean, of the last sixteen runs."""
    found = curve(*((1, 0.001 * n) for n in range(1, 33)))
    assert found.usual(1) == pytest.approx(0.0245)
    assert found.seconds(1) == pytest.approx(0.030)


def test_how_far_runs_scatter_is_learned_from_all_sizes_together() -> None:
    """A size that was seen once is as uncertain as those that were seen often."""
    steady, wild = (
        curve(*((1, 0.010 * scatter) for scatter in scatters), (8, 0.020))
        for scatters in ([1.0] * 16, [0.5, 1.0, 1.5, 2.0] * 4)
    )
    assert steady.seconds(8) == pytest.approx(steady.usual(8))
    assert wild.seconds(8) > 1.4 * wild.usual(8)


def test_one_stall_hardly_counts_in_what_is_usual() -> None:
    """As three times what is usual, of sixteen runs, and not as two hundred times."""
    found = curve((1, 0.01), times=15)
    found.learn(1, 2.0)
    assert 0.01 <= found.usual(1) <= 0.012


def test_a_slow_first_run_is_corrected_by_the_next() -> None:
    """Of two that contradict each other, the lower is believed."""
    found = curve((1, 2.0))
    assert found.seconds(1) == pytest.approx(2.0)
    found.learn(1, 0.01)
    assert found.usual(1) < 0.03
    found = curve((1, 2.0), (4, 0.02), (4, 0.02))
    assert found.usual(1) <= found.usual(4) < 0.1


def test_a_size_that_runs_no_more_is_forgotten() -> None:
    """The sooner, the less was seen of it: one slow run of a size keeps no other from being tried.

    What was seen more often of it is believed for longer.
    """
    assert curve((1, 0.01), (64, 5.0)).worthwhile(64, 0.0) < 64
    for seen, others, known in ((1, 16, True), (1, 24, False), (4, 24, True), (4, 80, False)):
        found = curve((64, 5.0), times=seen)
        for _ in range(others):
            found.learn(1, 0.01)
        assert (found.seconds(64) > 1.0) == known, (seen, others)


def test_few_runs_of_a_size_are_drawn_towards_what_the_others_say() -> None:
    """A line through all sizes counts for four runs in each."""
    found = curve(*((rows, 0.010 + 0.001 * rows) for rows in (1, 2, 4, 8, 16)), times=16)
    found.learn(32, 0.420)  # tenfold
    assert found.usual(32) < 0.15
    for _ in range(40):
        found.learn(32, 0.420)
    assert found.usual(32) > 0.3


def test_what_is_least_takes_several_runs_to_know() -> None:
    """Until then any deadline may be tried."""
    found = curve((1, 0.2), times=7)
    assert found.least(1) == 0.0
    found.learn(1, 0.3)
    assert found.least(1) == pytest.approx(0.2)


def test_slow_runs_do_not_raise_what_is_least() -> None:
    """A cold start, a stall, a run behind one that was given up: one fast run outweighs them."""
    found = curve((1, 2.0), times=6)
    found.learn(1, 0.01)
    found.learn(1, 2.0)
    for _ in range(8):
        found.learn(1, 2.0)
        assert found.least(1) == pytest.approx(0.01)


def test_what_is_least_of_few_rows_is_no_more_than_what_more_rows_took() -> None:
    """And of less than has ever run nothing is said."""
    found = curve((4, 0.5), (16, 0.1), times=8)
    assert found.least(4) == pytest.approx(0.1)
    assert found.least(64) == pytest.approx(0.1)
    assert found.least(1) == 0.0


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
    for of in (found.seconds, found.usual, found.least):
        costs = [of(rows) for rows in range(1, 400, 7)]
        assert all(0 <= a <= b + 1e-9 for a, b in pairwise(costs))
    assert 1 <= found.worthwhile(most, 0.005) <= most
