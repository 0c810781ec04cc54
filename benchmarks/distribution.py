"""Times of one kind, pooled over seconds and repetitions, and their quantiles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.series import Counts, Series

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How often each time occurred.

    Args:
        values: shape (V,), microseconds, ascending.
        counts: shape (V,).
        endless: requests that got no right answer: longer than every value.
    """

    values: Counts
    counts: Counts
    endless: int = 0

    @property
    def total(self) -> int:
        """How many there are, the endless ones too."""
        return int(self.counts.sum()) + self.endless

    @property
    def longest(self) -> float | None:
        """The longest time that ended, milliseconds; None where there is none."""
        occurred = self.values[self.counts > 0]
        return float(occurred[-1]) / 1000 if len(occurred) else None

    def quantile(self, p: float) -> float | None:
        """The smallest time that a share p of all keeps, milliseconds; None: it is infinite."""
        if not self.total:
            return None
        index = int(np.searchsorted(np.cumsum(self.counts), rank(p, self.total)))
        return float(self.values[index]) / 1000 if index < len(self.values) else None

    def curve(self) -> tuple[Floats, Floats]:
        """The times that occurred, and the share of all that took longer.

        Returns:
            milliseconds, ascending, shape (N,); shares above 0 and at most 1, shape (N,): of the
            requests that took as long or longer.
        """
        occurred = self.counts > 0
        below = np.cumsum(self.counts)[occurred] - self.counts[occurred]
        return self.values[occurred] / 1000, 1 - below / max(self.total, 1)


def pooled(series: Iterable[Series], endless: int = 0) -> Distribution:
    """All times of some series together.

    Args:
        series: of one kind.
        endless: requests that got no right answer.
    """
    parts = [(one.values, one.counts.sum(axis=0)) for one in series]
    if not parts:
        return Distribution(values=np.zeros(0, np.int64), counts=np.zeros(0, np.int64))
    values, where = np.unique(np.concatenate([v for v, _ in parts]), return_inverse=True)
    counts = np.zeros(len(values), np.int64)
    np.add.at(counts, where, np.concatenate([c for _, c in parts]))
    return Distribution(values=values, counts=counts, endless=endless)


def rank(p: float, total: int) -> int:
    """The place of the p-quantile among ordered values, from 1.

    Floating point makes 0.99 · 100 a little more than 99; the tenth digit settles it.
    """
    return max(math.ceil(round(p * total, 10)), 1)
