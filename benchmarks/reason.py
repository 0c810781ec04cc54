"""Why a promise is kept, broken or open: one sentence, with numbers, for whoever signs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.design_effect import FEWEST_BLOCKS
from benchmarks.promise import Promise, Weighed
from benchmarks.quantile import MOST_NEEDED, Answers

_IN_RUNS = 2.0  # from this design effect on, runs of slow answers are worth a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of what was promised, in its unit; None where there is none, as in a `Claim`."""

    measured: float | None
    low: float | None
    high: float | None


def bounds_of(promise: Promise, answers: Answers, weighed: Weighed, ends: Bounds) -> Bounds:
    """The bounds in the unit of the promise.

    Args:
        promise: what was promised.
        answers: what was measured.
        weighed: what the share of exceedances says.
        ends: of the quantile, milliseconds, where a quantile was promised.
    """
    share = weighed.share
    if share is None:
        return Bounds(measured=None, low=None, high=None)
    if promise.unit == "ms":
        # An infinite quantile is longer than any answer, and for sure than a limit that it breaks.
        longest = max(answers.longest, promise.limit_ms)
        low = longest if ends.low == math.inf else ends.low
        measured = ends.measured if ends.measured != math.inf else None
        return Bounds(measured=measured, low=low, high=ends.high)
    low, high = (share.low or None), (share.high if share.high < 1 else None)
    if promise.name != "goodput":
        return Bounds(measured=100 * share.found, low=_percent(low), high=_percent(high))
    least = None if high is None else 1 - high
    most = None if low is None else 1 - low
    return Bounds(measured=100 * (1 - share.found), low=_percent(least), high=_percent(most))


def reason(
    promise: Promise, answers: Answers, weighed: Weighed, bounds: Bounds, confidence: float
) -> str:
    """The sentence.

    Args:
        promise: what was promised.
        answers: what was measured.
        weighed: what the share of exceedances says.
        bounds: in the unit of the promise.
        confidence: of the SLA.
    """
    sure = f"({100 * confidence:g} % confidence)"
    if promise.p == 1 and answers.asked:
        return _absolute(promise, answers, weighed, sure)
    if weighed.effect is None:
        few = (
            f"{answers.asked} requests in {answers.seconds} seconds do not show how they hang"
            f" together: {FEWEST_BLOCKS} seconds with requests are the least."
        )
        return few if answers.asked else "Nothing was asked of this target, so nothing is known."
    what, limit = _what(promise), f"{promise.limit:g} {promise.unit}"
    worst, best = bounds.high, bounds.low
    most, least, may = "most", "least", "may"
    if promise.name == "goodput":
        worst, best, most, least, may = best, worst, least, most, "must"
    if weighed.kept:
        bound = _number(worst, promise)
        return f"{what} is at {most} {bound} {sure}, and {may} be at {most} {limit}."
    if weighed.kept is False:
        bound = _number(best, promise)
        if bounds.measured is None:
            return (
                f"{answers.failed} of {answers.asked} requests failed, so {what} is longer than"
                f" any answer, and {may} be at {most} {limit}."
            )
        return f"{what} is at {least} {bound} {sure}, and {may} be at {most} {limit}."
    return _open(promise, answers, weighed, bounds, sure)


def _absolute(promise: Promise, answers: Answers, weighed: Weighed, sure: str) -> str:
    """Where no request at all may exceed."""
    bad = "failed" if promise.limit_ms == math.inf else "failed or were late"
    over = answers.over(promise.limit_ms)
    if not weighed.kept or weighed.share is None:
        return f"{over} of {answers.asked} requests {bad}, and none may."
    return (
        f"None of {answers.asked} requests {bad}; so many can rule out"
        f" more than {100 * weighed.share.high:.2g} % {sure}."
    )


def _open(promise: Promise, answers: Answers, weighed: Weighed, bounds: Bounds, sure: str) -> str:
    low, high = (_number(bound, promise) for bound in (bounds.low, bounds.high))
    if bounds.low is not None and bounds.high is not None:
        where = f"between {low} and {high}"
    elif bounds.high is not None:
        where = f"at most {high}"
    else:
        where = f"at least {low}" if bounds.low is not None else "anywhere"
    text = f"{_what(promise)} is {where} {sure}, and the limit of {promise.limit:g} {promise.unit}"
    text += " lies within"
    if weighed.effect is not None and weighed.effect.size >= _IN_RUNS:
        text += (
            f"; slow answers come in runs, so {answers.asked} requests are worth"
            f" {answers.asked / weighed.effect.size:.0f} independent ones"
        )
    if weighed.needed is None:
        text += f"; not even {MOST_NEEDED:,} requests would decide"
    return text + "."


def _what(promise: Promise) -> str:
    return {"errors": "The share that fails", "goodput": "The share answered right in time"}.get(
        promise.name, promise.name
    )


def _number(value: float | None, promise: Promise) -> str:
    return "nothing" if value is None else f"{value:.4g} {promise.unit}"


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
