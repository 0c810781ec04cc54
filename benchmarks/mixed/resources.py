"""What processes hold over time: resident memory and open descriptors, and how they grow."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import psutil

_MIB = 1 << 20


@dataclass(slots=True)
class Series:
    """Samples of one process: monotonic seconds, MiB, open descriptors."""

    process: psutil.Process
    times: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)
    gone: bool = False

    def sample(self) -> None:
        """Take one."""
        try:
            rss, descriptors = self.process.memory_info().rss / _MIB, self.process.num_fds()
        except psutil.NoSuchProcess:
            self.gone = True
            return
        self.times.append(time.monotonic())
        self.rss.append(rss)
        self.descriptors.append(float(descriptors))

    def since(self, moment: float) -> Series:
        """The samples from a moment on."""
        start = next((i for i, at in enumerate(self.times) if at >= moment), len(self.times))
        return Series(
            self.process,
            self.times[start:],
            self.rss[start:],
            self.descriptors[start:],
            self.gone,
        )


@asynccontextmanager
async def watching(
    processes: Mapping[str, psutil.Process], every: float
) -> AsyncIterator[Mapping[str, Series]]:
    """Sample each of the processes, every so many seconds, while the block runs."""
    watched = {name: Series(process) for name, process in processes.items()}

    async def watch() -> None:
        while True:
            for series in watched.values():
                series.sample()
            await asyncio.sleep(every)

    task = asyncio.create_task(watch())
    try:
        yield watched
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def growth(times: Sequence[float], values: Sequence[float]) -> float:
    """By how much `values` grew over all of `times`, by the median of all pairs' slopes.

    A peak, or a step that is taken back, does not move it. Source: Theil (1950), Sen (1968).
    """
    slopes = [
        (b - a) / (t - s)
        for (s, a), (t, b) in itertools.combinations(zip(times, values, strict=True), 2)
        if t > s
    ]
    return statistics.median(slopes) * (times[-1] - times[0]) if slopes else 0.0
