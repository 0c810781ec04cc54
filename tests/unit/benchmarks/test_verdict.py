from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks.result import TargetRun
from benchmarks.sla import Limits, Sla, Target
from benchmarks.verdict import Claim, Outcome, Verdict, judge
from tests.counted import NAME, exceeding, promised, pulse, repetition, repetitions, target_run

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def slow(share: float, *, seed: int = 1, seconds: int = 60, over: float = 200.0) -> TargetRun:
    """A hundred requests a second, each over 100 ms with a probability and by itself."""
    rng = np.random.default_rng(seed)
    return exceeding(rng.binomial(100, share, seconds), 100, over=over)


def thrice(share: float, **changed: Any) -> list[Any]:
    return repetitions(*(slow(share, seed=seed, **changed) for seed in (1, 2, 3)))


def claim(verdict: Verdict, name: str = "p99") -> Claim:
    (found,) = (one for one in verdict.targets[0].claims if one.name == name)
    return found


@pytest.mark.parametrize(("share", "outcome"), [(0.004, PASS), (0.01, OPEN), (0.02, FAIL)])
def test_a_p99_is_judged_by_the_share_over_its_limit(share: float, outcome: Outcome) -> None:
    """Well under one in a hundred is a PASS, well over it a FAIL, and about it nothing."""
    verdict = judge(promised(p99_ms=100), thrice(share))
    found = claim(verdict)
    assert verdict.outcome == verdict.targets[0].outcome == found.outcome == outcome
    assert verdict.summary.startswith(f"{outcome}: ")
    assert verdict.doubts == ()
    assert (found.needed is None) == (outcome is not OPEN)


def test_the_bounds_are_of_the_quantile() -> None:
    """Both bounds of a p99 are times that were measured, and the limit lies between them."""
    found = claim(judge(promised(p99_ms=100), thrice(0.01)))
    assert (found.low, found.high) == (10.0, 200.0)
    assert "between 10 ms and 200 ms (95 % confidence), and the limit of 100 ms" in found.reason


def test_a_pass_tells_how_near_it_was() -> None:
    """Whoever signs reads the tightest promise and its bound."""
    verdict = judge(promised(p99_ms=100), thrice(0.004, over=90.0))
    assert verdict.summary == (
        "PASS: the target keeps its promises; tightest: digits, p99 at most 10 ms of 100"
        " (95 % confidence)."
    )
    assert claim(verdict).reason == (
        "p99 is at most 10 ms (95 % confidence), and may be at most 100 ms."
    )


def test_runs_of_slow_answers_are_worth_less() -> None:
    """The share that passes when each is slow by itself does not when they come together."""
    sla = promised(p99_ms=100)
    stalls = [np.zeros(60, np.int64) for _ in range(3)]
    for second, counts in zip((5, 20, 44), stalls, strict=True):
        counts[second] = 24
    together = judge(sla, repetitions(*(exceeding(counts, 100) for counts in stalls)))
    apart = judge(sla, thrice(0.004))
    assert (apart.outcome, together.outcome) == (PASS, OPEN)
    assert "slow answers come in runs" in claim(together).reason
    assert together.targets[0].effective < 1500 < apart.targets[0].effective


def test_a_stall_spares_the_p50() -> None:
    """Three seconds of a minute stand still: too much for a p99, and no matter for a p50."""
    counts = np.zeros(60, np.int64)
    counts[17:20] = 100
    verdict = judge(promised(p50_ms=20, p99_ms=100), repetitions(*[exceeding(counts, 100)] * 3))
    p50, p99 = verdict.targets[0].claims
    assert (p50.outcome, p99.outcome) == (PASS, OPEN)


def test_failures_are_slower_than_every_limit() -> None:
    """Two of a hundred fail: the p99 is infinite, its promise broken, that of the p50 kept."""
    run = target_run({10.0: 98}, failed=2)
    verdict = judge(promised(p50_ms=20, p99_ms=100), repetitions(run, run, run))
    p50, p99 = verdict.targets[0].claims
    assert (p50.outcome, p99.outcome, verdict.outcome) == (PASS, FAIL, FAIL)
    assert (p99.measured, p99.high) == (None, None)
    assert p99.low is not None
    assert p99.low >= p99.limit
    assert "360 of 18000 requests failed" in p99.reason
    assert verdict.summary.startswith("FAIL: the target breaks a promise. digits, p99: ")


@pytest.mark.parametrize(("failed", "outcome"), [(0, PASS), (1, FAIL)])
def test_where_none_may_fail_one_is_too_many(failed: int, outcome: Outcome) -> None:
    """No number proves that none ever fails; the reason tells what this one rules out."""
    counts = np.zeros(60, np.int64)
    counts[30] = failed
    run = target_run({10.0: 100 - counts}, failed=counts)
    found = claim(judge(promised(error_ratio=0), repetitions(run, run, run)), "errors")
    assert found.outcome == outcome
    assert found.limit == 0
    if failed:
        assert found.reason == "3 of 18000 requests failed, and none may."
    else:
        independent = 100 * (1 - 0.05 ** (1 / 18_000))
        assert found.high is not None
        assert independent < found.high < 1.2 * independent  # for few blocks do not prove it is so
        assert "rule out more than 0.018 %" in found.reason


@pytest.mark.parametrize(("share", "outcome"), [(0.003, PASS), (0.01, OPEN), (0.02, FAIL)])
def test_a_share_may_fail(share: float, outcome: Outcome) -> None:
    """Bounds of the share that failed, in percent, against a limit in percent."""
    runs = []
    for seed in (1, 2, 3):
        failed = np.random.default_rng(seed).binomial(100, share, 60)
        runs.append(target_run({10.0: 100 - failed}, failed=failed))
    found = claim(judge(promised(error_ratio=0.01), repetitions(*runs)), "errors")
    assert found.outcome == outcome
    assert found.limit == 1
    assert found.measured == pytest.approx(100 * share, rel=0.2)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 100 * share < found.high


@pytest.mark.parametrize(("share", "outcome"), [(0.03, PASS), (0.05, OPEN), (0.07, FAIL)])
def test_goodput_is_a_least(share: float, outcome: Outcome) -> None:
    """At least 95 % right and in time: what is late or failed counts against it, bounds and all."""
    sla = promised(goodput_ratio=0.95, goodput_ms=100)
    found = claim(judge(sla, thrice(share)), "goodput")
    assert found.outcome == outcome
    assert found.measured == pytest.approx(100 * (1 - share), abs=0.5)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 100 * (1 - share) < found.high
    assert (found.low >= 95) == (outcome is PASS)
    assert (found.high < 95) == (outcome is FAIL)


@pytest.mark.parametrize("seconds", [1, 9])
def test_a_few_seconds_are_too_few(seconds: int) -> None:
    """Nothing is concluded, not even of thousands of slow answers; it says how many would do."""
    sla = msgspec.structs.replace(promised(count=1, p99_ms=100), duration_seconds=seconds)
    for latency in (10.0, 200.0):
        verdict = judge(sla, repetitions(target_run({latency: 100}, seconds=seconds)))
        found = claim(verdict)
        assert (verdict.outcome, found.low, found.high) == (OPEN, None, None)
        assert found.needed == 1000
        assert f"{100 * seconds} requests in {seconds} seconds do not show" in found.reason


def test_few_requests_are_too_few() -> None:
    """One a second, none of them slow: 180 cannot show a p99, and 299 would at the least."""
    run = target_run({10.0: 1})
    found = claim(judge(promised(rate=1, p99_ms=100), repetitions(run, run, run)))
    assert (found.outcome, found.high) == (OPEN, None)
    assert found.needed is not None
    assert 299 <= found.needed < 400


def test_nothing_was_asked() -> None:
    """A target that is in no repetition, and no repetition at all: nothing is known."""
    for measured in ([], [repetition(number=i) for i in range(3)], repetitions(target_run({}))):
        verdict = judge(promised(p50_ms=1, p99_ms=100, error_ratio=0, goodput_ratio=1), measured)
        assert verdict.outcome is OPEN
        assert {one.outcome for one in verdict.targets[0].claims} == {OPEN}
        assert "nothing is known" in claim(verdict).reason


def test_a_limit_too_near_offers_no_number() -> None:
    """Exactly one in a hundred: no number of requests would tell it from the limit."""
    found = claim(
        judge(promised(p99_ms=100), repetitions(*[exceeding(np.ones(60, np.int64), 100)] * 3))
    )
    assert (found.outcome, found.needed) == (OPEN, None)
    assert "not even 10,000,000 requests" in found.reason


@pytest.mark.parametrize("others", [0, 19])
def test_more_targets_ask_for_more_certainty(others: int) -> None:
    """What one target alone proves is too little beside nineteen others, for PASS as for FAIL."""
    limits = Limits(p99_ms=100)
    names = [NAME, *(f"other {i}" for i in range(others))]
    targets = [Target(name=name, model="m", rate=100, limits=limits) for name in names]
    for share, alone in ((0.0083, PASS), (0.0119, FAIL)):
        measured = [
            repetition(
                *(
                    slow(share, seed=seed) if name == NAME else target_run({10.0: 100}, name=name)
                    for name in names
                ),
                number=seed,
            )
            for seed in (1, 2, 3)
        ]
        verdict = judge(Sla(target=tuple(targets)), measured)
        assert verdict.targets[0].outcome == (alone if not others else OPEN), share


def test_a_doubt_leaves_a_latency_open_and_an_error_an_error() -> None:
    """A starved generator makes answers late, it does not make them wrong."""
    pulses = tuple(pulse(i, cpu=1.0) for i in range(60))
    for share, failed in ((0.001, 0), (0.5, 1)):
        counts = np.random.default_rng(1).binomial(99, share, 60)
        run = target_run({10.0: 99 - counts, 200.0: counts + 1 - failed}, failed=failed)
        measured = [repetition(run, number=i, pulses=pulses) for i in (1, 2, 3)]
        verdict = judge(promised(p50_ms=9 if failed else 20, error_ratio=0), measured)
        p50, errors = verdict.targets[0].claims
        assert p50.outcome is OPEN
        assert "But the measurement is in doubt: generator process 0" in p50.reason
        assert errors.outcome is (FAIL if failed else OPEN)
        assert verdict.outcome is errors.outcome
        assert len(verdict.doubts) == 1
    assert "digits, errors: 180 of 18000 requests failed" in verdict.summary


def test_failures_alone_break_a_latency_whatever_the_doubt() -> None:
    """Where half of the requests fail, it is not the generator that makes the p99 long."""
    measured = [
        repetition(target_run({10.0: 50}, failed=50), number=i, complete=False) for i in (1, 2, 3)
    ]
    assert claim(judge(promised(p99_ms=100), measured)).outcome is FAIL


def test_a_doubt_about_one_target_leaves_the_others() -> None:
    """Requests of one target that were never sent say nothing about another."""
    limits = Limits(p99_ms=100)
    sla = Sla(
        target=tuple(Target(name=name, model="m", rate=100, limits=limits) for name in ("a", "b"))
    )
    runs = (target_run({10.0: 100}, name="a", unsent=1), target_run({10.0: 100}, name="b"))
    verdict = judge(sla, [repetition(*runs, number=i) for i in (1, 2, 3)])
    assert [one.outcome for one in verdict.targets] == [OPEN, PASS]
    assert verdict.outcome is OPEN
    assert verdict.summary.startswith("INCONCLUSIVE: the measurement is in doubt: 3 requests that")


def test_repetitions_that_disagree_are_in_doubt() -> None:
    """One repetition passes, another fails, both for sure: the mean of them means nothing."""
    verdict = judge(
        promised(p99_ms=100), repetitions(slow(0.001), slow(0.001, seed=2), slow(0.06, seed=3))
    )
    (doubt,) = verdict.doubts
    assert doubt.target == NAME
    assert "the repetitions disagree on p99" in doubt.what
    assert "in number 1, and" in doubt.what
    assert verdict.outcome is OPEN


def test_repetitions_that_differ_where_it_does_not_matter() -> None:
    """All three are well within the limit: that one is quicker is no doubt."""
    verdict = judge(
        promised(p99_ms=100), repetitions(slow(0.001), slow(0.004, seed=2), slow(0.001, seed=3))
    )
    assert (verdict.outcome, verdict.doubts) == (PASS, ())


def noisy(factor: float, seed: int) -> TargetRun:
    """A hundred requests a second around a latency of 20 ms, times a factor."""
    rng = np.random.default_rng(seed)
    times = np.sort(20 * factor * rng.lognormal(0, 0.2, (60, 100)).round(2))
    return target_run({t: (times == t).sum(axis=1) for t in np.unique(times).tolist()})


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, PASS), (1.2, OPEN), (1.5, FAIL)])
def test_a_p99_against_the_baselines(factor: float, outcome: Outcome) -> None:
    """As quick as before, a fifth slower, half slower: at most a fifth was promised."""
    before = repetitions(*(noisy(1.0, seed) for seed in (1, 2, 3)))
    after = repetitions(*(noisy(factor, seed) for seed in (4, 5, 6)))
    sla = promised(regression=1.2, error_ratio=0)
    found = claim(judge(sla, after, before), "p99 ÷ baseline")
    assert found.outcome == outcome
    assert found.measured == pytest.approx(factor, rel=0.05)
    assert found.low is not None
    assert found.high is not None
    assert found.low < factor < found.high


def test_without_a_baseline_nothing_is_compared() -> None:
    """The promise is left out, rather than left open."""
    verdict = judge(promised(p99_ms=100, regression=1.1), thrice(0.004))
    assert [one.name for one in verdict.targets[0].claims] == ["p99"]
    assert verdict.outcome is PASS


def test_a_baseline_in_doubt_is_no_measure() -> None:
    """A p99 that was long because the generator was late would excuse a slower gateway."""
    before = repetitions(*(noisy(1.0, seed) for seed in (1, 2, 3)))
    spoilt = [
        repetition(*one.targets.values(), complete=False, number=one.run.number) for one in before
    ]
    verdict = judge(promised(regression=1.2, error_ratio=0), before, spoilt)
    found = claim(verdict, "p99 ÷ baseline")
    assert found.outcome is OPEN
    assert "the baseline: repetition 1 ended early" in found.reason
    assert claim(verdict, "errors").outcome is PASS


def test_a_baseline_that_failed_is_no_measure() -> None:
    """Without a p99 of its own it can excuse nothing."""
    before = repetitions(*[target_run({10.0: 50}, failed=50)] * 3)
    found = claim(
        judge(promised(regression=1.2, error_ratio=0), thrice(0.004), before), "p99 ÷ baseline"
    )
    assert (found.outcome, found.measured, found.high) == (OPEN, None, None)


def test_a_verdict_can_be_written_and_read() -> None:
    """Infinite quantiles are null, never Infinity, which is no JSON."""
    run = target_run({10.0: 50}, failed=50)
    verdict = judge(promised(p99_ms=100, regression=2), repetitions(run, run, run), thrice(0.004))
    text = msgspec.json.encode(verdict)
    assert b"Infinity" not in text
    assert msgspec.json.decode(text, type=Verdict) == verdict


def test_a_pass_is_rarely_wrong() -> None:
    """Slow answers in runs of six seconds, just too many: hardly any of a hundred pass."""
    sla = promised(p99_ms=100)
    passed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        shares = 0.0101 * np.repeat(rng.exponential(size=(3, 10)), 6, axis=1)
        runs = [exceeding(rng.binomial(100, np.minimum(one, 1)), 100) for one in shares]
        passed += judge(sla, repetitions(*runs)).outcome is PASS
    assert passed <= 5
