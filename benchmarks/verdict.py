"""PASS, FAIL or INCONCLUSIVE: a pure function of what was promised and what was measured.

Many promises are judged at once, so each is held to a stricter level than the SLA's confidence. A
target passes only when all its promises do, which needs no correction (Berger, Technometrics 24,
1982); the targets share the probability of a wrong PASS evenly, and all promises that of a wrong
FAIL (Bonferroni). So neither is more probable, in a whole benchmark, than one minus the confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from benchmarks import disagreement, doubts, regression
from benchmarks.doubts import Doubt
from benchmarks.promise import Promise, Weighed, promises, weigh
from benchmarks.quantile import Answers, Levels, share
from benchmarks.reason import Bounds, bounds_of, reason
from benchmarks.result import Repetition, TargetRun
from benchmarks.sla import Sla, Target

__all__ = ["Claim", "Doubt", "Outcome", "TargetVerdict", "Verdict", "judge"]

TIMES = "\N{MULTIPLICATION SIGN}"
"""The unit of a ratio."""
_REGRESSION = "p99 ÷ baseline"


class Outcome(StrEnum):
    """What can be said of a promise."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One promise about one target, and what the samples say of it.

    Args:
        name: "p99", "errors", "goodput", "p99 ÷ baseline".
        unit: "ms", "%" or TIMES.
        limit: what was promised, in that unit.
        measured: the estimate; None where it is infinite (more failed than the quantile leaves
            over).
        low: the lower confidence bound; None where there is none.
        high: the upper one; None where there is none (infinite, or too few samples).
        outcome: PASS where the whole interval keeps the promise, FAIL where all of it breaks it.
        reason: one sentence, with numbers, for whoever signs.
        needed: how many requests would do for an answer if they went on like this; None where the
            answer is there, or no number would do.
    """

    name: str
    unit: str
    limit: float
    measured: float | None
    low: float | None
    high: float | None
    outcome: Outcome
    reason: str
    needed: int | None = None


class TargetVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """All promises about one target.

    Args:
        name: the target's.
        outcome: PASS where all claims pass, FAIL where one fails.
        claims: one for each limit of the SLA.
        asked: requests in all repetitions.
        failed: how many of them got no right answer.
        effective: independent requests that these are worth, at the strictest quantile:
            latencies come in runs, so there are fewer.
    """

    name: str
    outcome: Outcome
    claims: tuple[Claim, ...]
    asked: int
    failed: int
    effective: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed."""

    outcome: Outcome
    summary: str
    confidence: float
    targets: tuple[TargetVerdict, ...]
    doubts: tuple[Doubt, ...]


def judge(
    sla: Sla, repetitions: Sequence[Repetition], baseline: Sequence[Repetition] = ()
) -> Verdict:
    """Judge every promise of an SLA.

    Args:
        sla: what was promised.
        repetitions: what was measured.
        baseline: what an earlier version measured, for limits of `regression`.
    """
    levels = _levels(sla, baseline)
    found = list(doubts.find(sla, repetitions))
    for target in sla.target:
        found += disagreement.find(promises(target), _runs(target, repetitions), levels)
    earlier = [*found, *_doubts_of_baseline(sla, baseline)]
    judged = []
    for target in sla.target:
        answers, limit = Answers(_runs(target, repetitions)), target.limits.regression
        of_target = promises(target)
        weighed = [weigh(promise, answers, levels) for promise in of_target]
        claims = [
            _doubted(_claim(promise, answers, one, levels, sla), _touching(found, target), broken)
            for promise, one in zip(of_target, weighed, strict=True)
            for broken in [_failures_break(promise, answers, one, levels)]
        ]
        if limit is not None and baseline:
            old = Answers(_runs(target, baseline))
            compared = _compared(regression.compare(limit, answers, old, levels), limit, sla)
            claims.append(_doubted(compared, _touching(earlier, target), broken=False))
        judged.append(
            TargetVerdict(
                name=target.name,
                outcome=_together([claim.outcome for claim in claims]),
                claims=tuple(claims),
                asked=answers.asked,
                failed=answers.failed,
                effective=_effective(of_target, weighed, answers),
            )
        )
    outcome = _together([one.outcome for one in judged])
    return Verdict(
        outcome=outcome,
        summary=f"{outcome}: {_summary(outcome, sla, judged, found)}",
        confidence=sla.confidence,
        targets=tuple(judged),
        doubts=tuple(found),
    )


def _levels(sla: Sla, baseline: Sequence[Repetition]) -> Levels:
    compared = sum(one.limits.regression is not None for one in sla.target) if baseline else 0
    every = sum(len(promises(target)) for target in sla.target) + compared
    wrong = 1 - sla.confidence
    return Levels(high=wrong / len(sla.target), low=wrong / max(every, 1))


def _runs(target: Target, repetitions: Sequence[Repetition]) -> list[TargetRun]:
    return [one.targets[target.name] for one in repetitions if target.name in one.targets]


def _doubts_of_baseline(sla: Sla, baseline: Sequence[Repetition]) -> list[Doubt]:
    """What speaks against the baseline; that it is short, its own bounds tell."""
    seconds = min((one.run.seconds for one in baseline), default=sla.duration_seconds)
    as_it_was = msgspec.structs.replace(sla, duration_seconds=seconds, repetitions=len(baseline))
    return [
        msgspec.structs.replace(doubt, what=f"the baseline: {doubt.what}")
        for doubt in (doubts.find(as_it_was, baseline) if baseline else ())
    ]


def _touching(found: Sequence[Doubt], target: Target) -> list[Doubt]:
    return [doubt for doubt in found if doubt.target in ("", target.name)]


def _claim(promise: Promise, answers: Answers, weighed: Weighed, levels: Levels, sla: Sla) -> Claim:
    low, high = None, None
    if promise.unit == "ms" and weighed.effect is not None:
        low, high = answers.bounds(promise.p, weighed.effect, levels, promise.limit_ms)
    ends = Bounds(measured=answers.quantile(promise.p), low=low, high=high)
    bounds = bounds_of(promise, answers, weighed, ends)
    return Claim(
        name=promise.name,
        unit=promise.unit,
        limit=promise.limit,
        measured=bounds.measured,
        low=bounds.low,
        high=bounds.high,
        outcome=_outcome(weighed.kept),
        reason=reason(promise, answers, weighed, bounds, sla.confidence),
        needed=weighed.needed,
    )


def _compared(found: regression.Compared, limit: float, sla: Sla) -> Claim:
    outcome, sure = _outcome(found.kept), f"({100 * sla.confidence:g} % confidence)"
    low, high = (f"{b:.3g}" if b is not None else "?" for b in (found.low, found.high))
    told = {
        Outcome.PASS: f"at most {high} times the baseline's {sure}",
        Outcome.FAIL: f"at least {low} times the baseline's {sure}",
        Outcome.INCONCLUSIVE: f"{low} to {high} times the baseline's {sure}",
    }
    return Claim(
        name=_REGRESSION,
        unit=TIMES,
        limit=limit,
        measured=found.measured,
        low=found.low,
        high=found.high,
        outcome=outcome,
        reason=f"p99 is {told[outcome]}, and may be {limit:g} times.",
        needed=found.needed,
    )


def _failures_break(promise: Promise, answers: Answers, weighed: Weighed, levels: Levels) -> bool:
    """Whether failures alone break a promise: a late generator does not make a wrong answer.

    That no connection was free may be the doing of a generator that was too slow to free one.
    """
    failed = answers.failed - answers.unserved
    if promise.p == 1:
        return failed > 0
    if weighed.effect is None:
        return False
    return share(failed, answers.asked, weighed.effect, levels).low > 1 - promise.p


def _doubted(claim: Claim, touching: Sequence[Doubt], broken: bool) -> Claim:  # noqa: FBT001
    """A claim as far as it can be held while the measurement is in doubt."""
    if not touching or claim.outcome is Outcome.INCONCLUSIVE or broken:
        return claim
    more = f" (and {len(touching) - 1} more)" if len(touching) > 1 else ""
    return msgspec.structs.replace(
        claim,
        outcome=Outcome.INCONCLUSIVE,
        reason=f"{claim.reason} But the measurement is in doubt: {touching[0].what}{more}.",
    )


def _outcome(kept: bool | None) -> Outcome:  # noqa: FBT001 - it is what it is about
    if kept is None:
        return Outcome.INCONCLUSIVE
    return Outcome.PASS if kept else Outcome.FAIL


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    if Outcome.FAIL in outcomes:
        return Outcome.FAIL
    return Outcome.PASS if set(outcomes) == {Outcome.PASS} else Outcome.INCONCLUSIVE


def _effective(of_target: Sequence[Promise], weighed: Sequence[Weighed], answers: Answers) -> float:
    """Of the strictest quantile; of any other promise where there is none."""
    known = [
        (promise.unit == "ms", promise.p, one.effect.size)
        for promise, one in zip(of_target, weighed, strict=True)
        if one.effect is not None
    ]
    return answers.asked / max(known)[2] if known else 0.0


def _summary(
    outcome: Outcome, sla: Sla, judged: Sequence[TargetVerdict], found: Sequence[Doubt]
) -> str:
    many = len(judged)
    concerned = [one for one in judged if one.outcome is outcome]
    of_all = "the target" if many == 1 else f"{len(concerned)} of {many} targets"
    if outcome is Outcome.PASS:
        all_of = "the target keeps its" if many == 1 else f"all {many} targets keep their"
        return f"{all_of} promises{_tightest(judged, sla)}."
    name, claim = next(
        (one.name, claim) for one in concerned for claim in one.claims if claim.outcome is outcome
    )
    if outcome is Outcome.FAIL:
        verb = "breaks" if len(concerned) == 1 else "break"
        return f"{of_all} {verb} a promise. {name}, {claim.name}: {claim.reason}"
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return f"the measurement is in doubt: {found[0].what}{more}. Mend: {found[0].advice}."
    return f"no promise is broken, but {of_all} stayed open. {name}, {claim.name}: {claim.reason}"


def _tightest(judged: Sequence[TargetVerdict], sla: Sla) -> str:
    """The promise that came nearest to its limit."""
    near = [
        (claim.high / claim.limit, one.name, claim)
        for one in judged
        for claim in one.claims
        if claim.unit in ("ms", TIMES) and claim.high is not None
    ]
    if not near:
        return ""
    _, name, claim = max(near, key=lambda one: one[0])
    return (
        f"; tightest: {name}, {claim.name} at most {claim.high:.4g} {claim.unit} of"
        f" {claim.limit:g} ({100 * sla.confidence:g} % confidence)"
    )
