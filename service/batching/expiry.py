"""Tells those whose deadline passes: one timer for all of them, not one for each."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

_Waiter = TypeVar("_Waiter")

# A longer wait is told less exactly, so that few moments have to be looked at.
_STEPS = ((20.0, 128), (2.0, 16), (0.0, 1))  # waits from so many seconds on: so many milliseconds
_LOOK_SECONDS = 3600.0  # a timer for a deadline beyond all clocks would be none


class Expiry(Generic[_Waiter]):
    """Deadlines, kept in buckets of a millisecond or of less than a hundredth of the wait.

    Args:
        expired: called with each whose deadline has passed.
    """

    def __init__(self, expired: Callable[[_Waiter], object]) -> None:
        self._expired = expired
        self._buckets: dict[int, dict[_Waiter, None]] = {}  # by milliseconds of time.monotonic()
        self._due: list[int] = []  # a heap of the buckets' keys
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0  # for this bucket

    def watch(self, waiter: _Waiter, deadline: float, now: float) -> dict[_Waiter, None] | None:
        """Tell `waiter` when its deadline has passed, never before.

        Args:
            waiter: who.
            deadline: seconds of `time.monotonic()`; infinite: never.
            now: the same clock's present.

        Returns:
            the bucket: whoever takes `waiter` out of it has it forgotten.
        """
        if deadline == math.inf:
            return None
        wait = deadline - now
        step = next(step for least, step in _STEPS if wait >= least or not least)
        due = (int(deadline * 1000) // step + 1) * step
        bucket = self._buckets.get(due)
        if bucket is None:
            bucket = self._buckets[due] = {}
            heappush(self._due, due)
            if self._timer is None or due < self._armed:
                self._arm()
        bucket[waiter] = None
        return bucket

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            self._armed = self._due[0]
            wait = self._armed / 1000 - time.monotonic()
            wait = min(max(0.0, wait), _LOOK_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(wait, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic() * 1000
        while self._due and self._due[0] <= now:
            for waiter in list(self._buckets.pop(heappop(self._due))):
                self._expired(waiter)
        self._arm()
