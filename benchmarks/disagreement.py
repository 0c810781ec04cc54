"""Repetitions that tell different stories: what one calls kept, another calls broken."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import special

from benchmarks.doubts import Doubt
from benchmarks.promise import Promise, weigh
from benchmarks.quantile import Answers, Levels
from benchmarks.result import TargetRun

_LEVEL = 0.01  # so often repetitions of one and the same thing are called different


def find(promises: Sequence[Promise], runs: Sequence[TargetRun], levels: Levels) -> list[Doubt]:
    """Doubts about a target whose repetitions disagree beyond chance, where it matters.

    It matters where one repetition alone would be a PASS and another a FAIL of the same promise.

    Args:
        promises: about the target.
        runs: its repetitions.
        levels: how often a PASS and a FAIL may be wrong.
    """
    if len(runs) < 2:
        return []
    alone = [Answers([run]) for run in runs]
    for promise in promises:
        if promise.p == 1 or _chance(promise, alone, 1.0) >= _LEVEL:
            continue
        told = [weigh(promise, answers, levels) for answers in alone]
        kept = [one.kept for one in told]
        size = max((one.effect.size for one in told if one.effect), default=1.0)
        if True in kept and False in kept and _chance(promise, alone, size) < _LEVEL:
            good, bad = kept.index(True), kept.index(False)
            shares = [answers.over(promise.limit_ms) / answers.asked for answers in alone]
            return [
                Doubt(
                    what=f"the repetitions disagree on {promise.name}: {shares[good]:.2%} of the"
                    f" requests were over its limit in number {good + 1}, and {shares[bad]:.2%} in"
                    f" number {bad + 1}",
                    advice="find what differed between them, and measure again",
                    target=runs[0].name,
                )
            ]
    return []


def _chance(promise: Promise, alone: Sequence[Answers], size: float) -> float:
    """How probable it is that equal repetitions differ as much: Pearson's test of homogeneity.

    With the statistic divided by the design effect (Rao and Scott, JASA 76, 1981).
    """
    asked = [answers.asked for answers in alone]
    over = [answers.over(promise.limit_ms) for answers in alone]
    found = sum(over) / max(sum(asked), 1)
    if not 0 < found < 1:
        return 1.0
    squares = sum(
        (x - found * n) ** 2 / (n * found * (1 - found))
        for x, n in zip(over, asked, strict=True)
        if n
    )
    return float(special.chdtrc(len(alone) - 1, squares / size))
