"""How sure a quantile is when requests come in runs: bounds on shares, and on the quantile itself.

That the p-quantile is at most L says that at most 1 - p of all requests take longer than L. So all
promises are about one thing, the share of *exceedances*: requests that took longer or failed.

Of n requests, n over their `design_effect` is the effective number, from which Clopper and
Pearson's bounds follow (Korn and Graubard, Survey Methodology 24, 1998), and, turned round, those
of a quantile (Woodruff, JASA 47, 1952).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from benchmarks.design_effect import Effect, design_effect
from benchmarks.distribution import pooled
from benchmarks.result import NO_CONNECTION_FREE, TargetRun
from benchmarks.series import LATENCY, Counts

MOST_NEEDED = 10_000_000
"""More requests than this are never asked for."""

# The share that exceeds a far limit may be 0, which shows no correlation at all. So the effect is
# taken at thresholds that more requests exceed, too: so many times the share that may.
_NEARBY = (1, 2, 4)
_FAR = 2.0  # a threshold so many times below a limit tells of the body, and not of the tail
_MOST_TIMES = 3.0  # by which an effect is drawn up; chosen by simulation (ADR 0009)
_RARE = 0.1  # of a share that may exceed: a larger one is not made of a few runs


@dataclass(frozen=True, slots=True)
class Share:
    """The share of requests that exceed a limit.

    Args:
        found: the estimate.
        low: the lower bound; 0 where there is none.
        high: the upper bound; 1 where there is none.
    """

    found: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Levels:
    """How often either bound may be wrong, each on its own side.

    Args:
        high: of the upper bound of a share, on which a PASS rests.
        low: of the lower bound of a share, on which a FAIL rests.
    """

    high: float
    low: float


class Answers:
    """All requests of one target, in as many repetitions as there are.

    `asked` requests came in `seconds` seconds that had any; `failed` of them got no right answer,
    and `unserved` of those were never sent, since no connection was free.

    Args:
        runs: the target in each repetition.
    """

    def __init__(self, runs: Sequence[TargetRun]) -> None:
        self._runs = runs
        self._nearby: dict[float, list[tuple[float, int, Effect | None]]] = {}
        self._asked = [run.asked for run in runs]
        self.asked = int(sum(asked.sum() for asked in self._asked))
        self.seconds = int(sum(np.count_nonzero(asked) for asked in self._asked))
        self.failed = int(sum(run.failed.sum() for run in runs))
        self.unserved = sum(run.failures.get(NO_CONNECTION_FREE, 0) for run in runs)
        every = pooled((run.series[LATENCY] for run in runs), self.failed)
        self._values = every.values
        # Of each value, the requests that took longer or failed.
        self._over = every.total - every.counts.cumsum()

    @property
    def longest(self) -> float:
        """The longest time to a right answer, milliseconds; 0 where there is none."""
        return float(self._values[-1]) / 1000 if len(self._values) else 0.0

    def over(self, limit_ms: float) -> int:
        """How many took longer than a limit, or failed."""
        return int(sum(seconds.sum() for seconds in self._exceeded(limit_ms)))

    def quantile(self, p: float) -> float:
        """The p-quantile over all requests, milliseconds; infinite where it is a failed one."""
        return self._value(int(np.searchsorted(-self._over, -(1 - p) * self.asked * (1 + 1e-12))))

    def effect(self, p: float, limit_ms: float = math.inf) -> Effect | None:
        """How requests hang together, near the p-quantile and at a limit.

        The largest design effect of all thresholds and block lengths: a threshold that few
        exceeded, or blocks shorter than the runs of slow answers, show too little of it. Thresholds
        below the quantile count where the limit is not far from them. A share
        that is below what may be is so with shorter runs than it would have there, so the effect
        at the limit of a rare share is drawn up to what may be, as if runs grew with the share.

        Args:
            p: the promised quantile.
            limit_ms: the limit; infinite: what fails.

        Returns:
            None where there are fewer than FEWEST_BLOCKS seconds with requests.
        """
        over = self.over(limit_ms)
        times = min(max((1 - p) * self.asked / over, 1.0), _MOST_TIMES) if over else 1.0
        times = times if 1 - p <= _RARE else 1.0
        there = design_effect(self._exceeded(limit_ms), self._asked, times)
        return _largest(self._near(p, limit_ms), there)

    def _near(self, p: float, limit_ms: float) -> Effect | None:
        """The largest effect at thresholds near the p-quantile that speak for a limit."""
        if p not in self._nearby:
            at = {times: self.quantile(1 - times * (1 - p)) for times in _NEARBY}
            self._nearby[p] = [
                (ms, times, design_effect(self._exceeded(ms), self._asked))
                for times, ms in at.items()
                if times * (1 - p) < 1
            ]
        return _largest(
            *(one for ms, times, one in self._nearby[p] if times == 1 or ms >= limit_ms / _FAR)
        )

    def share(self, limit_ms: float, effect: Effect, levels: Levels) -> Share:
        """The share of requests that took longer than a limit or failed, and its bounds."""
        return share(self.over(limit_ms), self.asked, effect, levels)

    def bounds(
        self, p: float, effect: Effect, levels: Levels, limit_ms: float | None = None
    ) -> tuple[float | None, float | None]:
        """The lower and the upper bound of the p-quantile, milliseconds; None where there is none.

        The lower one is infinite where too many failed for the quantile to be an answer's.

        They agree with `share`: the upper bound is at most L exactly when `share(L).high` is at
        most 1 - p, the lower one is above L exactly when `share(L).low` is above 1 - p. With a
        limit, which `effect` is of, that holds for this L; above and below, the upper bound has
        the effect of where it lies.
        """
        places = range(len(self._values))

        def at(place: int) -> Share:
            return share(int(self._over[place]), self.asked, effect, levels)

        def above(place: int) -> bool:
            if limit_ms is None:
                return at(place).high <= 1 - p
            here = self._near(p, self._value(place)) or effect
            return share(int(self._over[place]), self.asked, here, levels).high <= 1 - p

        low = bisect.bisect_left(places, 1, key=lambda place: at(place).low <= 1 - p)
        place = bisect.bisect_left(places, 1, key=above)
        high = self._value(place) if place < len(self._values) else None
        if limit_ms is not None:
            kept = self.share(limit_ms, effect, levels).high <= 1 - p
            if kept:
                high = min(self._beyond(p, levels) if high is None else high, limit_ms)
            elif high is not None and high <= limit_ms:
                high = None
        everything = share(self.asked, self.asked, effect, levels)
        return self._value(low) if everything.low > 1 - p else None, high

    def _beyond(self, p: float, levels: Levels) -> float:
        """The upper bound of a p-quantile where it lies above all that was measured."""
        for ms in sorted(_FAR * ms for ms, times, _ in self._nearby[p] if times > 1):
            effect = self._near(p, math.nextafter(ms, math.inf))
            if ms < self.longest or effect is None:
                continue
            if share(self.failed, self.asked, effect, levels).high <= 1 - p:
                return ms
        return math.inf

    def _value(self, place: int) -> float:
        return float(self._values[place]) / 1000 if place < len(self._values) else math.inf

    def _exceeded(self, limit_ms: float) -> list[Counts]:
        return [run.series[LATENCY].over(limit_ms) + run.failed for run in self._runs]


def _largest(*effects: Effect | None) -> Effect | None:
    return max((one for one in effects if one), key=lambda one: one.size, default=None)


def share(over: float, asked: int, effect: Effect, levels: Levels) -> Share:
    """A share of requests and its bounds: Clopper and Pearson's, at the effective number.

    The effect is itself an estimate from few blocks, so the effective number shrinks by the squared
    ratio of Student's quantiles (Korn and Graubard 1998, equation 3).

    Args:
        over: how many exceeded; at most `asked`.
        asked: how many there are, at least 1.
        effect: how they hang together.
        levels: how often each bound may be wrong.
    """
    found = over / asked
    return Share(
        found,
        _low(found, _effective(asked, effect, levels.low), levels.low),
        _high(found, _effective(asked, effect, levels.high), levels.high),
    )


def needed(found: float, p: float, effect: Effect, levels: Levels) -> int | None:
    """How many requests would decide, if as many of them exceeded as did.

    Args:
        found: the share that exceeded.
        p: the promised quantile, below 1.
        effect: how they hang together.
        levels: how often each bound may be wrong.

    Returns:
        For a PASS or a FAIL, whichever it would be; None where MOST_NEEDED would not do.
    """
    passes = found <= 1 - p

    def decided(asked: int) -> bool:
        if passes:
            return _high(found, _effective(asked, effect, levels.high), levels.high) <= 1 - p
        return _low(found, _effective(asked, effect, levels.low), levels.low) > 1 - p

    if not decided(MOST_NEEDED):
        return None
    return bisect.bisect_left(range(MOST_NEEDED), 1, lo=1, key=decided)


def _effective(asked: int, effect: Effect, level: float) -> float:
    side = 1 - min(level, 0.49)  # at one half both of Student's quantiles are 0
    many = special.stdtrit(max(asked - 1, 1), side)
    few = special.stdtrit(max(effect.blocks - 1, 1), side)
    return float(asked / effect.size * min(many / few, 1.0) ** 2)


def _high(found: float, number: float, level: float) -> float:
    if found >= 1:
        return 1.0
    over = found * number
    return float(special.betaincinv(over + 1, number - over, 1 - level))


def _low(found: float, number: float, level: float) -> float:
    if found <= 0:
        return 0.0
    over = found * number
    return float(special.betaincinv(over, number - over + 1, level))
