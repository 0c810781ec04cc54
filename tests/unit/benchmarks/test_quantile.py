import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.design_effect import Effect, design_effect
from benchmarks.quantile import MOST_NEEDED, Answers, Levels, needed, share
from tests.counted import exceeding, target_run

MANY = Effect(1.0, 10**9, 0.0)
FIVE = Levels(high=0.05, low=0.05)


@pytest.mark.parametrize(("over", "asked"), [(0, 30), (3, 1000), (180, 18_000), (7, 7)])
def test_independent_requests_have_clopper_and_pearsons_bounds(over: int, asked: int) -> None:
    """Without correlation the bounds of a share are those that scipy gives for a binomial."""
    exact = stats.binomtest(over, asked).proportion_ci(0.9, method="exact")
    found = share(over, asked, Effect(1.0, asked, 0.0), FIVE)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_none_of_n_leaves_the_rule_of_three() -> None:
    """Of 299 requests none exceeded: at most 1 % do, and 298 would not have sufficed."""
    assert share(0, 299, MANY, FIVE).high <= 0.01 < share(0, 298, MANY, FIVE).high
    assert needed(0, 0.99, MANY, FIVE) == math.ceil(math.log(0.05) / math.log(0.99)) == 299


@given(
    st.integers(0, 500),
    st.integers(1, 500),
    st.floats(1, 50),
    st.integers(10, 100),
    st.floats(0.001, 0.4),
)
def test_bounds_lie_around_the_estimate_and_widen_with_all_that_makes_less_sure(
    over: int, more: int, size: float, blocks: int, level: float
) -> None:
    """Less risk, fewer blocks and a larger effect widen an interval, more requests narrow it."""
    asked = over + more
    found = share(over, asked, Effect(size, blocks, 0.0), Levels(level, level))
    assert 0 <= found.low <= found.found <= found.high <= 1
    tight = share(4 * over, 4 * asked, Effect(size, blocks, 0.0), Levels(level, level))
    wider = [
        share(over, asked, Effect(size, blocks, 0.0), Levels(level / 2, level / 2)),
        share(over, asked, Effect(2 * size, blocks, 0.0), Levels(level, level)),
        share(over, asked, Effect(size, blocks // 2, 0.0), Levels(level, level)),
    ]
    slack = 1e-9
    assert all(one.low <= found.low + slack for one in wider)
    assert all(one.high >= found.high - slack for one in wider)
    assert tight.low >= found.low - slack
    assert tight.high <= found.high + slack


@given(st.lists(st.integers(0, 20), min_size=30, max_size=60), st.floats(1, 300))
@settings(deadline=None)
def test_a_share_and_a_quantile_never_contradict_each_other(slow: list[int], limit: float) -> None:
    """The upper bound keeps a limit when the share over it may be; so, too, is it broken."""
    run = target_run({5.0: 80, 50.0: np.array(slow), 90.0: np.array(slow) // 2}, seconds=len(slow))
    answers = Answers([run])
    effect = answers.effect(0.9, limit)
    assert effect is not None
    found = answers.share(limit, effect, FIVE)
    low, high = answers.bounds(0.9, effect, FIVE)
    assert (high is not None and high <= limit) == (found.high <= 1 - 0.9)
    assert (low is not None and low > limit) == (found.low > 1 - 0.9)
    if low is not None and high is not None:
        assert low <= answers.quantile(0.9) <= high


def test_the_quantile_counts_failures_as_slower_than_everything() -> None:
    """With 2 % failed there is no p99, and the p95 is that of the slowest that were answered."""
    answers = Answers([target_run({10.0: 93, 30.0: 5}, failed=2)])
    assert answers.quantile(0.99) == math.inf
    assert answers.quantile(0.95) == 30.0
    assert answers.quantile(0.5) == 10.0
    assert answers.over(20) == 60 * 7


def test_repetitions_are_put_together_whatever_their_buckets() -> None:
    """Two repetitions with other latencies, and of other lengths, are one sample."""
    runs = [target_run({10.0: 1}, seconds=40), target_run({5.0: 1, 20.0: 1}, seconds=20)]
    answers = Answers(runs)
    assert (answers.asked, answers.seconds, answers.longest) == (80, 60, 20.0)
    assert answers.quantile(0.25) == 5.0
    assert answers.quantile(0.75) == 10.0
    assert answers.over(15) == 20


def test_independent_exceedances_have_no_effect_to_speak_of() -> None:
    """A binomial count in each second is worth about as many requests as there are."""
    rng = np.random.default_rng(5)
    over = [rng.binomial(100, 0.05, 60) for _ in range(3)]
    found = design_effect(over, [np.full(60, 100)] * 3)
    assert found is not None
    assert 1 <= found.size < 2
    assert found.blocks == 21  # of 8 seconds, or a little more


def test_exceedances_that_come_together_are_worth_one() -> None:
    """Where all requests of some seconds exceed, the effect is about the requests of a second."""
    rng = np.random.default_rng(6)
    over = [100 * rng.binomial(1, 0.1, 100) for _ in range(3)]
    found = design_effect(over, [np.full(100, 100)] * 3)
    assert found is not None
    assert 80 < found.size < 200


def test_slow_correlation_is_seen_in_long_blocks() -> None:
    """Waves far longer than a second have a larger effect than the same counts in any order."""
    rng = np.random.default_rng(7)
    wave = np.rint(5 + 5 * np.sin(np.arange(120) / 12)).astype(np.int64)
    asked = [np.full(120, 100)]
    waves, mixed = design_effect([wave], asked), design_effect([rng.permutation(wave)], asked)
    assert waves is not None
    assert mixed is not None
    assert waves.size > 5 * mixed.size
    assert waves.correlation > 0.3


def test_blocks_do_not_span_repetitions() -> None:
    """Ten repetitions of a second each are ten blocks; nine are too few."""
    one = np.array([3])
    ten = design_effect([one] * 10, [np.array([100])] * 10)
    assert ten is not None
    assert ten.blocks == 10
    assert design_effect([one] * 9, [np.array([100])] * 9) is None


def test_empty_seconds_are_no_blocks() -> None:
    """A target that asks in nine seconds of sixty is too little known."""
    asked = np.zeros(60, np.int64)
    asked[::7] = 50
    assert design_effect([asked // 25], [asked]) is None
    answers = Answers([target_run({10.0: asked})])
    assert answers.seconds == 9
    assert answers.effect(0.99, 100.0) is None


@pytest.mark.parametrize("over", [0, 3, 100])
def test_equal_blocks_have_an_effect_of_one(over: int) -> None:
    """None, as many in each second, or all: no variance, and never fewer than one block's worth."""
    found = design_effect([np.full(60, over)], [np.full(60, 100)])
    assert found is not None
    assert found.size == 1.0


def test_a_lucky_zero_is_not_trusted() -> None:
    """Where nothing exceeds the limit, the runs of requests just below it tell of correlation."""
    answers = Answers([exceeding(np.repeat([0, 50, 0, 0], 15), 100, over=90.0)])
    effect = answers.effect(0.75, 100.0)
    assert answers.over(100.0) == 0
    assert effect is not None
    assert effect.size > 20


def test_what_is_needed_grows_towards_the_limit_and_then_is_not_offered() -> None:
    """The nearer the share is to what is allowed, the more requests; at it, no number would do."""
    far, near = needed(0.001, 0.99, MANY, FIVE), needed(0.008, 0.99, MANY, FIVE)
    assert far is not None
    assert near is not None
    assert 299 < far < near < MOST_NEEDED
    assert share(0.008 * near, near, MANY, FIVE).high <= 0.01
    assert needed(0.01, 0.99, MANY, FIVE) is None
    assert needed(0.00999, 0.99, MANY, FIVE) is None


def test_what_is_needed_for_a_fail_is_enough() -> None:
    """As many requests as it says would prove 2 % to be over 1 %, and in runs of ten, too."""
    for effect in (MANY, Effect(10.0, 10**9, 0.0)):
        more = needed(0.02, 0.99, effect, FIVE)
        assert more is not None
        assert share(0.02 * more, more, effect, FIVE).low > 0.01


def test_no_answers_at_all() -> None:
    """Nothing was asked, or everything failed: there is no quantile, and no error either."""
    nobody = Answers([])
    assert (nobody.asked, nobody.quantile(0.99), nobody.effect(0.99, 1.0)) == (0, math.inf, None)
    failed = Answers([target_run({}, failed=10)])
    effect = failed.effect(0.99, 100.0)
    assert effect is not None
    assert failed.bounds(0.99, effect, FIVE) == (math.inf, None)
