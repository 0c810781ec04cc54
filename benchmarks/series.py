"""Times of one kind: as they were measured, and counted for each second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Counts = np.ndarray[Any, np.dtype[np.int64]]

LATENCY = "latency"
"""From the intended send to the right answer: what is promised."""
SERVICE = "service"
"""From the send to the answer, right or not: what a closed loop would have shown."""
LATE = "late"
"""From the intended send to the send, as far as the generator itself is to blame."""
WAIT = "wait"
"""From the intended send until a connection was free, as far as slow answers are to blame."""
TAGS = (LATENCY, SERVICE, LATE, WAIT)


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw times of one kind.

    Args:
        seconds: shape (N,): of the intended send, counted from the beginning of the measured time.
        micros: shape (N,): microseconds.
    """

    seconds: Counts
    micros: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Times of one kind, counted for each second of the intended send.

    Args:
        values: shape (V,), microseconds, ascending; the highest that falls into each bucket.
        counts: shape (S, V).
    """

    values: Counts
    counts: Counts

    @property
    def total(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    def over(self, limit_ms: float) -> Counts:
        """How many in each second were longer than a limit; shape (S,).

        A bucket that reaches over the limit counts as over it.
        """
        return np.asarray(self.counts[:, self.values > limit_ms * 1000].sum(axis=1))
