"""A promise as a share of requests that may exceed a limit, and what samples say of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.design_effect import FEWEST_BLOCKS, Effect
from benchmarks.quantile import Answers, Levels, Share, needed
from benchmarks.sla import Target

_UNKNOWN = Effect(1.0, 10_000, 0.0)  # before anything was seen: independent requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """At most `1 - p` of all requests take longer than a limit, or fail.

    Args:
        name: "p99", "errors" or "goodput".
        p: the share that must not; 1 where none may.
        limit_ms: the limit; infinite where only failing counts.
        limit: as the SLA has it, in `unit`.
        unit: "ms" or "%".
    """

    name: str
    p: float
    limit_ms: float
    limit: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What samples say of a promise.

    Args:
        kept: True and False where they say so with confidence, else None.
        share: of requests that exceed the limit; None where nothing was asked.
        effect: how requests hang together; None where there are too few to tell.
        needed: how many requests would decide; None where it is decided, or no number would do.
    """

    kept: bool | None
    share: Share | None
    effect: Effect | None
    needed: int | None


def promises(target: Target) -> tuple[Promise, ...]:
    """All promises about a target but that of `regression`."""
    limits = target.limits
    found = [
        Promise(name=f"p{100 * p:g}", p=p, limit_ms=limit, limit=limit, unit="ms")
        for p, limit in limits.quantiles().items()
    ]
    if (ratio := limits.error_ratio) is not None:
        found.append(
            Promise(name="errors", p=1 - ratio, limit_ms=math.inf, limit=100 * ratio, unit="%")
        )
    within = limits.goodput_ms or limits.p99_ms
    if (ratio := limits.goodput_ratio) is not None and within is not None:
        found.append(Promise(name="goodput", p=ratio, limit_ms=within, limit=100 * ratio, unit="%"))
    return tuple(found)


def weigh(promise: Promise, answers: Answers, levels: Levels) -> Weighed:
    """Hold samples against a promise.

    Where no request may exceed the limit, one that does breaks the promise, and none keeps it: no
    number of samples could show more.

    Args:
        promise: what was promised.
        answers: what was measured.
        levels: how often a PASS and a FAIL may be wrong.
    """
    if not answers.asked:
        return Weighed(kept=None, share=None, effect=None, needed=None)
    may = 1 - promise.p
    effect = answers.effect(promise.p, promise.limit_ms)
    share = answers.share(promise.limit_ms, effect or _UNKNOWN, levels)
    if may == 0:
        return Weighed(kept=share.found == 0, share=share, effect=effect, needed=None)
    if effect is None:
        fewest = math.ceil(answers.asked / max(answers.seconds, 1) * FEWEST_BLOCKS)
        more = needed(share.found, promise.p, _UNKNOWN, levels)
        least = None if more is None else max(more, fewest)
        unknown = Share(share.found, 0.0, 1.0)
        return Weighed(kept=None, share=unknown, effect=None, needed=least)
    if share.high <= may or share.low > may:
        return Weighed(kept=share.high <= may, share=share, effect=effect, needed=None)
    more = needed(share.found, promise.p, effect, levels)
    return Weighed(kept=None, share=share, effect=effect, needed=more)
