"""What a run costs, learned from the runs that end."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate

_SAMPLES = 16  # of each size; old ones go, so that the curve follows a drift
_HIGH = 0.9
_FAR = 3.0  # times what is usual: a run that took longer counts as one that took so long
_FRESH = 16  # runs of other sizes, for each run of a size, after which it is forgotten
_DOUBT = 4  # runs that the line through all sizes counts for, in each of them
_STRIDE = 4
_ENOUGH = 1.05
_STEP = 8  # times the rows of the largest run that has been seen
_SURE = 8  # runs without which nobody is told that a deadline is too short


class CostCurve:
    """Seconds for a run of so many rows.

    Sizes between two powers of two are learned together: the middle of the last runs of each, which
    ignores the odd outlier and follows a drift after a few runs, drawn towards a line through all
    sizes where few have been seen. How far runs scatter is learned from all sizes together.
    Between sizes that have been seen it interpolates, beyond them it goes on as that line; it
    never falls. A size that no longer runs is forgotten, the sooner the less was seen of it: else
    one bad run, at a cold start, would keep others of its size from being tried ever again.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Size] = {}
        self._learned = 0
        self._rows: list[float] = []
        self._middle: list[float] = []
        self._lowest: list[float] = []
        self._runs = 0  # that are remembered
        self._slope = 0.0  # seconds for each row, beyond the largest size
        self._mean = self._high = 1.0  # times the middle

    def learn(self, rows: int, seconds: float) -> bool:
        """A run has ended. Returns whether the curve has changed: not every run is worth it."""
        of_its_size = self._seen.get(rows.bit_length())
        if of_its_size is None:
            of_its_size = self._seen[rows.bit_length()] = _Size()
        self._learned += 1
        of_its_size.add(rows, seconds, self._learned)
        changed = self._learned <= _SAMPLES or not self._learned % _STRIDE
        if changed:
            self._settle()  # what so many runs have said, one more hardly changes
        return changed

    def _settle(self) -> None:
        self._seen = {key: size for key, size in self._seen.items() if size.fresh(self._learned)}
        sizes = [self._seen[key] for key in sorted(self._seen)]
        for size in sizes:
            size.settle()
        fixed, self._slope = _line(sizes)
        drawn = [
            (size.runs * size.middle + _DOUBT * (fixed + self._slope * size.rows))
            / (size.runs + _DOUBT)
            for size in sizes
        ]
        # What is wrong with a run makes it slower, seldom faster: of two sizes that contradict
        # each other the lower is believed.
        self._middle = list(accumulate(reversed(drawn), min))[::-1]
        self._lowest = list(accumulate((size.lowest for size in reversed(sizes)), min))[::-1]
        self._rows = [size.rows for size in sizes]
        self._runs = sum(size.runs for size in sizes)
        ratios = sorted(
            seconds / size.middle for size in sizes for _, seconds in size.samples if size.middle
        ) or [1.0]
        self._mean = sum(min(ratio, _FAR) for ratio in ratios) / len(ratios)
        self._high = ratios[int(_HIGH * (len(ratios) - 1))]

    def seconds(self, rows: float) -> float:
        """What a run of `rows` will hardly exceed; 0 while nothing is known."""
        return self._high * self._at(rows)

    def usual(self, rows: float) -> float:
        """What runs of `rows` take on average; 0 while nothing is known."""
        return self._mean * self._at(rows)

    def least(self, rows: float) -> float:
        """What no run of `rows` or more was faster than, of those remembered; 0 while few are.

        Slow runs, however slow, do not raise it as long as one among them was not. What is
        remembered of larger sizes alone says nothing.
        """
        at = bisect_right(self._rows, rows)
        return self._lowest[at - 1] if at and self._runs >= _SURE else 0.0

    def worthwhile(self, most: int, short: float) -> int:
        """The rows beyond which a larger run is hardly cheaper for each of them, up to `most`.

        Nobody gains by more, and everybody in the run waits for all of it; but what takes less
        than `short` seconds holds nobody up, and saves a run. Larger runs than have been seen are
        tried step by step.
        """
        if not self._rows:
            return most
        bound = min(most, max(1, _STEP * int(self._rows[-1])))
        sizes = [1 << power for power in range(bound.bit_length())]
        if sizes[-1] != bound:
            sizes.append(bound)
        costs = [self.usual(size) for size in sizes]
        enough = _ENOUGH * min(cost / size for cost, size in zip(costs, sizes, strict=True))
        return max(
            next(size for cost, size in zip(costs, sizes, strict=True) if cost <= enough * size),
            sizes[max(0, bisect_right(costs, short) - 1)],
        )

    def _at(self, rows: float) -> float:
        known, costs = self._rows, self._middle
        if not known:
            return 0.0
        at = bisect_left(known, rows)
        if at == 0:
            return costs[0]
        if at == len(known):
            return costs[-1] + self._slope * (rows - known[-1])
        slope = (costs[at] - costs[at - 1]) / (known[at] - known[at - 1])
        return costs[at - 1] + slope * (rows - known[at - 1])


class _Size:
    """The last runs between two powers of two rows."""

    __slots__ = ("_last", "lowest", "middle", "rows", "samples")

    def __init__(self) -> None:
        self.samples: deque[tuple[int, float]] = deque(maxlen=_SAMPLES)
        self._last = 0
        self.rows = self.middle = self.lowest = 0.0

    @property
    def runs(self) -> int:
        """How many are remembered."""
        return len(self.samples)

    def add(self, rows: int, seconds: float, number: int) -> None:
        """The run with this number has ended."""
        self.samples.append((rows, seconds))
        self._last = number

    def fresh(self, number: int) -> bool:
        """Whether it is still believed, by the number of the last run of any size."""
        return number - self._last <= _FRESH * len(self.samples)

    def settle(self) -> None:
        """Say what the samples come to."""
        self.rows = sum(rows for rows, _ in self.samples) / len(self.samples)
        ordered = sorted(seconds for _, seconds in self.samples)
        self.lowest = ordered[0]
        self.middle = ordered[(len(ordered) - 1) // 2]


def _line(sizes: Sequence[_Size]) -> tuple[float, float]:
    """Seconds of each run, and of each row in it: by least squares, of relative errors.

    Neither is negative. Through one size alone goes a flat line: larger runs must be tried, to be
    known.
    """
    weights = [size.runs / max(size.middle, 1e-9) ** 2 for size in sizes]
    total = sum(weights)
    rows = sum(w * size.rows for w, size in zip(weights, sizes, strict=True)) / total
    middle = sum(w * size.middle for w, size in zip(weights, sizes, strict=True)) / total
    spread = sum(w * (size.rows - rows) ** 2 for w, size in zip(weights, sizes, strict=True))
    if not spread:
        return middle, 0.0
    slope = (
        sum(
            w * (size.rows - rows) * (size.middle - middle)
            for w, size in zip(weights, sizes, strict=True)
        )
        / spread
    )
    slope = min(max(0.0, slope), middle / rows)
    return middle - slope * rows, slope
