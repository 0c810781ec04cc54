"""What half a minute can show of an SLA, for CI."""

from __future__ import annotations

import math

import msgspec

from benchmarks import sla as slas
from benchmarks.sla import QUANTILES, Limits, Sla, Target

_WARMUP_SECONDS = 1.5
_SECONDS = 20.0
_TIMEOUT_SECONDS = 3.0
_CONFIDENCE = 0.8
_MARGIN = 12.0  # over the fewest: in twenty seconds ten requests are often worth one


def quick(sla: Sla) -> Sla:
    """The same load for less than half a minute, and the promises that so many requests can show.

    With a confidence of 80 %: twenty seconds are few, since slow answers come in runs. A promise
    that would most likely stay open is left out, and named in `untried`; a target of which nothing
    would be left keeps all of its promises.
    """
    short = msgspec.structs.replace(
        sla,
        warmup_seconds=min(sla.warmup_seconds, _WARMUP_SECONDS),
        duration_seconds=min(sla.duration_seconds, _SECONDS),
        timeout_seconds=min(sla.timeout_seconds, _TIMEOUT_SECONDS),
        repetitions=1,
        confidence=min(sla.confidence, _CONFIDENCE),
    )
    targets, untried = [], list(sla.untried)
    for target in sla.target:
        kept, dropped = _tried(short, target)
        targets.append(msgspec.structs.replace(target, limits=kept))
        untried += [f"{target.name}: {name}" for name in dropped]
    return msgspec.structs.replace(short, target=tuple(targets), untried=tuple(untried))


def fewest(p: float, wrong: float) -> int:
    """So many independent requests, none of them too slow, show a quantile p.

    Source: p ** n <= wrong; order statistics of the uniform distribution.

    Args:
        p: the quantile.
        wrong: how often it may be claimed wrongly.
    """
    return math.ceil(math.log(wrong) / math.log(p))


def _tried(sla: Sla, target: Target) -> tuple[Limits, list[str]]:
    rate = slas.offered(target)
    if rate is None:  # a trace may hold any number
        return target.limits, []
    wrong = (1 - sla.confidence) / len(sla.target)
    have = rate * sla.duration_seconds
    limits = target.limits
    dropped = {
        QUANTILES[p]: f"p{100 * p:g}"
        for p in limits.quantiles()
        if have < _MARGIN * fewest(p, wrong)
    }
    changes: dict[str, float | None] = dict.fromkeys(dropped)
    names = list(dropped.values())
    goodput = limits.goodput_ratio
    if goodput is not None and goodput < 1 and have < _MARGIN * fewest(goodput, wrong):
        changes["goodput_ratio"] = None
        names.append("goodput")
    elif goodput is not None and "p99_ms" in dropped:
        changes["goodput_ms"] = limits.goodput_ms or limits.p99_ms  # it meant that limit
    kept = msgspec.structs.replace(limits, **changes)
    return (kept, names) if slas.promises_anything(kept) else (limits, [])
