"""A p99 against the p99 of an earlier version, each with its own bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.quantile import MOST_NEEDED, Answers, Levels

P = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The new p99 over the old one.

    Args:
        kept: True and False where the samples say so with confidence, else None.
        measured: the estimate; None where a p99 is infinite or nothing was asked.
        low: the lower bound; None where there is none.
        high: the upper bound; None where there is none.
        needed: how many requests would decide, if the baseline had as many more; None where it is
            decided, or no number would do.
    """

    kept: bool | None
    measured: float | None
    low: float | None
    high: float | None
    needed: int | None


def compare(limit: float, new: Answers, old: Answers, levels: Levels) -> Compared:
    """Hold the ratio of two p99 against a limit.

    Each bound of the ratio is made of one bound of either p99, each at half the level: by
    Bonferroni both are right at the level of the ratio.

    Args:
        limit: what the ratio may be at most.
        new: what was measured.
        old: the baseline.
        levels: how often a PASS and a FAIL may be wrong.
    """
    effects = new.effect(P, new.quantile(P)), old.effect(P, old.quantile(P))
    if effects[0] is None or effects[1] is None:
        return Compared(kept=None, measured=_ratio(new, old), low=None, high=None, needed=None)
    pass_half, fail_half = levels.high / 2, levels.low / 2
    new_low, new_high = new.bounds(P, effects[0], Levels(high=pass_half, low=fail_half))
    old_low, old_high = old.bounds(P, effects[1], Levels(high=fail_half, low=pass_half))
    high = new_high / old_low if new_high and old_low and math.isfinite(old_low) else None
    low = new_low / old_high if new_low and old_high else None
    measured = _ratio(new, old)
    if high is not None and high <= limit:
        return Compared(kept=True, measured=measured, low=low, high=high, needed=None)
    if low is not None and low > limit:
        finite = low if math.isfinite(low) else limit
        return Compared(kept=False, measured=measured, low=finite, high=high, needed=None)
    more = _needed(limit, new.asked, measured, low, high)
    return Compared(kept=None, measured=measured, low=low, high=high, needed=more)


def _ratio(new: Answers, old: Answers) -> float | None:
    above, below = new.quantile(P), old.quantile(P)
    return above / below if math.isfinite(above) and math.isfinite(below) else None


def _needed(
    limit: float, asked: int, measured: float | None, low: float | None, high: float | None
) -> int | None:
    """An interval shrinks with the root of the number, here on the scale of logarithms."""
    if measured is None:
        return None
    bound = high if measured <= limit else low
    away = abs(math.log(limit / measured))
    if bound is None or away == 0:
        return None
    more = asked * (math.log(bound / measured) / away) ** 2
    return math.ceil(more) if more <= MOST_NEEDED else None
