"""What a run costs, learned from the runs that end."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence

_SAMPLES = 32  # of each size; old ones go, so that the curve follows a drift
_HIGH = 0.9
_STRIDE = 4
_ENOUGH = 1.05
_STEP = 8  # times the rows of the largest run that has been seen


class CostCurve:
    """Seconds for a run of so many rows.

    Sizes between two powers of two are learned together. A quantile of the last runs of each
    ignores the odd outlier, and follows a drift after a few runs. Between sizes that have been
    seen it interpolates, beyond them it is as flat or as steep as the last two; it never falls.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Size] = {}
        self._learned = 0
        self._rows: list[float] = []
        self._usual: list[float] = []
        self._high: list[float] = []

    def learn(self, rows: int, seconds: float) -> None:
        """A run has ended."""
        of_its_size = self._seen.get(rows.bit_length())
        if of_its_size is None:
            of_its_size = self._seen[rows.bit_length()] = _Size()
        of_its_size.add(rows, seconds)
        self._learned += 1
        if self._learned > _SAMPLES and self._learned % _STRIDE:
            return  # what so many runs have said, one more hardly changes
        sizes = [self._seen[key] for key in sorted(self._seen)]
        for size in sizes:
            size.settle()
        self._rows = [size.rows for size in sizes]
        self._usual = _rising([size.usual for size in sizes])
        self._high = _rising([size.high for size in sizes])

    def seconds(self, rows: float) -> float:
        """What a run of `rows` will hardly exceed; 0 while nothing is known."""
        return _at(rows, self._rows, self._high)

    def usual(self, rows: float) -> float:
        """What every other run of `rows` exceeds; 0 while nothing is known."""
        return _at(rows, self._rows, self._usual)

    def worthwhile(self, most: int, short: float) -> int:
        """The rows beyond which a larger run is hardly cheaper for each of them, up to `most`.

        Nobody gains by more, and everybody in the run waits for all of it; but what takes less
        than `short` seconds holds nobody up, and saves a run. Far larger runs than have been seen
        are tried step by step.
        """
        if not self._rows:
            return most
        bound = min(most, _STEP * int(self._rows[-1]))
        sizes = [1 << power for power in range(bound.bit_length())]
        if sizes[-1] != bound:
            sizes.append(bound)
        costs = [self.usual(size) for size in sizes]
        enough = _ENOUGH * min(cost / size for cost, size in zip(costs, sizes, strict=True))
        return max(
            next(size for cost, size in zip(costs, sizes, strict=True) if cost <= enough * size),
            sizes[max(0, bisect_right(costs, short) - 1)],
        )


def _rising(values: Sequence[float]) -> list[float]:
    found: list[float] = []
    for value in values:
        found.append(max(value, found[-1]) if found else value)
    return found


def _at(rows: float, known: Sequence[float], costs: Sequence[float]) -> float:
    if not known:
        return 0.0
    at = bisect_left(known, rows)
    if at == 0 or len(known) == 1:
        return costs[0]
    at = min(at, len(known) - 1)
    slope = (costs[at] - costs[at - 1]) / (known[at] - known[at - 1])
    return costs[at - 1] + slope * (rows - known[at - 1])


class _Size:
    """The last runs between two powers of two rows."""

    __slots__ = ("_samples", "high", "rows", "usual")

    def __init__(self) -> None:
        self._samples: deque[tuple[int, float]] = deque(maxlen=_SAMPLES)
        self.rows = self.usual = self.high = 0.0

    def add(self, rows: int, seconds: float) -> None:
        self._samples.append((rows, seconds))

    def settle(self) -> None:
        samples = self._samples
        self.rows = sum(rows for rows, _ in samples) / len(samples)
        ordered = sorted(seconds for _, seconds in samples)
        self.usual = ordered[(len(ordered) - 1) // 2]
        self.high = ordered[int(_HIGH * (len(ordered) - 1))]
