"""The memory of a worker under bad requests, and what of it counts as a leak."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil

from benchmarks.harness.record import Evidence

MIB = 1 << 20
_MAX_GROWTH = 4  # MiB from the first rounds to the last: what leaks raises the lowest of them too


class Memory:
    """The resident memory of a process, in MiB, and its peak."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._done = threading.Event()
        self.peak = 0.0

    def now(self) -> float:
        """At this moment."""
        found = self._process.memory_info().rss / MIB
        self.peak = max(self.peak, found)
        return found

    def settled(self) -> float:
        """Once the connections that were cut are taken down."""
        time.sleep(1.0)
        return self.now()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Keep the peak of the block."""
        self._done.clear()
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.now()


def report(
    evidence: Evidence,
    *,
    idle: float,
    after: Sequence[float],
    peak: float,
    max_body: int,
    at_once: int,
) -> None:
    """Add the figures.

    Args:
        evidence: of the topic.
        idle: MiB before.
        after: MiB after each round, one case at a time, and at last after many at a time.
        peak: MiB at most, one case at a time.
        max_body: bytes of a body or message that the gateway takes.
        at_once: how many that was.
    """
    max_kept = max_body // MIB  # what the allocator may hold of one freed body
    max_peak = 4 * max_body // MIB  # one body as it came, as it grew, and inflated
    turns = len(after) - 1
    told = ", ".join(f"{mib:.0f}" for mib in after)
    evidence.add("the worker's memory when idle", f"{idle:.0f} MiB")
    evidence.add(
        f"its memory after each of {turns} rounds, and after {at_once} at a time",
        f"{told} MiB",
        f"at most {max_kept} MiB over idle",
        holds=max(after) - idle <= max_kept,
    )
    half = turns // 2
    growth = min(after[half:]) - min(after[:half])
    evidence.add(
        f"growth of the lowest, from the first {half} rounds to the rest",
        f"{growth:.1f} MiB",
        f"at most {_MAX_GROWTH} MiB",
        holds=growth <= _MAX_GROWTH,
    )
    evidence.add(
        "its peak, one at a time",
        f"{peak:.0f} MiB",
        f"at most {max_peak} MiB over idle",
        holds=peak - idle <= max_peak,
    )
    evidence.raw["memory_mib"] = {"idle": idle, "after": list(after), "peak": peak}
