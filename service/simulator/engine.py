"""An engine in virtual time: parallel instances, one queue, and what makes real ones uneven."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from service.batching.member import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineModel:
    """What a run takes: `fixed` + `each` * rows seconds, times a noise whose mean is 1.

    Args:
        fixed: seconds of each run.
        each: seconds of each row in it.
        rows: of a run at most.
        instances: runs that are computed at once.
        noise: the sigma of the lognormal noise.
        transit: seconds from the gateway to the engine, and as many back.
        outliers: of all runs, the share that takes `outlier` times as long.
        outlier: see there.
        stalls: from such moments, for so many seconds, no run is begun or gets on.
        drift: from such a moment on, each run takes so many times as long.
        cold: so many first runs take so many times as long.
    """

    fixed: float
    each: float
    rows: int
    instances: int = 1
    noise: float = 0.2
    transit: float = 0.0005
    outliers: float = 0.0
    outlier: float = 10.0
    stalls: tuple[tuple[float, float], ...] = ()
    drift: tuple[float, float] | None = None
    cold: tuple[int, float] | None = None

    def mean(self, rows: int) -> float:
        """Seconds of a run on average, outliers included; before any drift, stalls aside."""
        whole = self.fixed + self.each * rows
        return whole * (1 + self.outliers * (self.outlier - 1))

    def capacity(self, begin: float, end: float) -> float:
        """Rows per second, between two moments, of batches that are as large as may be."""
        able = self._able(begin, end) - sum(
            self._able(max(begin, at), min(end, at + seconds))
            for at, seconds in self.stalls
            if at < end and at + seconds > begin
        )
        fastest = max(rows / self.mean(rows) for rows in (1, self.rows))
        return self.instances * fastest * able / (end - begin)

    def _able(self, begin: float, end: float) -> float:
        """Seconds of an engine without drift that do as much."""
        if self.drift is None:
            return end - begin
        at, times = self.drift
        before = min(max(at - begin, 0.0), end - begin)
        return before + (end - begin - before) / times


@dataclass(slots=True)
class Engine:
    """What is being computed, and what waits inside the engine."""

    model: EngineModel
    random: np.random.Generator
    free: int = 0
    begun: int = 0
    waiting: deque[Batch] = field(default_factory=deque)

    def __post_init__(self) -> None:
        """All instances are idle."""
        self.free = self.model.instances

    def take(self, batch: Batch) -> Batch | None:
        """A batch arrives; it is begun now if it is returned."""
        if not self.free:
            self.waiting.append(batch)
            return None
        self.free -= 1
        return batch

    def end(self) -> Batch | None:
        """A run ends; the batch that is begun in its place."""
        if self.waiting:
            return self.waiting.popleft()
        self.free += 1
        return None

    def seconds(self, rows: int, now: float) -> float:
        """What a run that begins now will take."""
        model = self.model
        took = model.fixed + model.each * rows
        took *= self.random.lognormal(-model.noise * model.noise / 2, model.noise)
        if model.outliers and self.random.random() < model.outliers:
            took *= model.outlier
        if model.drift is not None and now >= model.drift[0]:
            took *= model.drift[1]
        if model.cold is not None and self.begun < model.cold[0]:
            took *= model.cold[1]
        self.begun += 1
        for at, seconds in model.stalls:
            if at <= now < at + seconds:
                took += at + seconds - now
            elif now < at < now + took:
                took += seconds
        return float(took)
