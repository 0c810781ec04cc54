"""The policies that are compared: ours, and what others do. Time is an argument in all of them.

Written after what those servers do, as their sources and pages tell: Triton's dynamic batcher
(`max_queue_delay_microseconds`) and BentoML's dispatcher (`bentoml/_internal/marshal/dispatcher.py`
of 1.4).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np

from service.batching.member import Batch, Member
from service.batching.schedule import Cut, Schedule
from service.simulator.engine import EngineModel


class Queue(Protocol):
    """One gateway's members that wait, and its batches that run."""

    @property
    def waiting(self) -> int:
        """Members that wait."""

    @property
    def inside(self) -> int:
        """Members that wait or run."""

    def join(self, member: Member) -> None:
        """Wait."""

    def leave(self, member: Member) -> None:
        """Wait no more."""

    def decide(self, now: float) -> Cut | float:
        """What to send, or how long to wait."""

    def send(self, members: Sequence[Member], now: float) -> Batch:
        """They leave together."""

    def ended(self, batch: Batch, now: float) -> None:
        """The gateway hears that a batch is done."""


Making: TypeAlias = Callable[[EngineModel, float, int], Queue]
"""A queue before an engine, for an SLO in seconds, in one of so many gateways."""


class Ours:
    """The schedule that the gateway uses."""

    def __init__(self, model: EngineModel, gateways: int = 1, in_flight: int = 4) -> None:
        self.schedule = Schedule(
            rows=model.rows, instances=model.instances, in_flight=in_flight, workers=gateways
        )
        self.inside = 0

    @property
    def waiting(self) -> int:
        """Members that wait."""
        return self.schedule.line.members

    def join(self, member: Member) -> None:
        """Wait."""
        self.inside += 1
        self.schedule.line.join(member)

    def leave(self, member: Member) -> None:
        """Wait no more."""
        self.inside -= 1
        self.schedule.line.leave(member)

    def decide(self, now: float) -> Cut | float:
        """What the schedule decides."""
        decision = self.schedule.decide(now)
        if isinstance(decision, Cut):
            self.inside -= len(decision.late)
        return decision

    def send(self, members: Sequence[Member], now: float) -> Batch:
        """They leave together."""
        return self.schedule.send(members, now)

    def ended(self, batch: Batch, now: float) -> None:
        """The schedule learns from it."""
        self.inside -= len(batch.members)
        self.schedule.learn(batch, now)
        self.schedule.ended(batch, now)


class WhenFree:
    """All that waits leaves when fewer than so many batches for each instance are in flight."""

    def __init__(self, model: EngineModel, *, in_flight: int) -> None:
        self.rows = model.rows
        self.slots = in_flight * model.instances
        self.line: deque[Member] = deque()
        self.line_rows = 0
        self.running = 0
        self.inside = 0

    @property
    def waiting(self) -> int:
        """Members that wait."""
        return len(self.line)

    def join(self, member: Member) -> None:
        """Wait."""
        self.inside += 1
        self.line_rows += member.rows
        self.line.append(member)

    def leave(self, member: Member) -> None:
        """Wait no more."""
        self.inside -= 1
        self.line_rows -= member.rows
        self.line.remove(member)

    def decide(self, now: float) -> Cut | float:
        """Cut, or wait for what `patience` says."""
        if not self.line or self.running >= self.slots:
            return math.inf
        if self.line_rows < self.rows and (wait := self.patience(now)):
            return wait
        return Cut(list(self._first()), "", ())

    def patience(self, now: float) -> float:  # noqa: ARG002 - others wait
        """Seconds until even a batch that is not full may leave; 0: now."""
        return 0.0

    def _first(self) -> Iterator[Member]:
        rows = 0
        while self.line and (not rows or rows + self.line[0].rows <= self.rows):
            rows += self.line[0].rows
            self.line_rows -= self.line[0].rows
            yield self.line.popleft()

    def send(self, members: Sequence[Member], now: float) -> Batch:
        """They leave together."""
        self.running += 1
        return Batch(members, sum(member.rows for member in members), now)

    def ended(self, batch: Batch, now: float) -> None:  # noqa: ARG002 - others learn from it
        """A place is free."""
        self.running -= 1
        self.inside -= len(batch.members)


class FixedDelay(WhenFree):
    """An idle instance gets a batch when it is full or the oldest has waited so many seconds."""

    def __init__(self, model: EngineModel, *, delay: float) -> None:
        super().__init__(model, in_flight=1)
        self.delay = delay

    def patience(self, now: float) -> float:
        """What the oldest has left of the delay."""
        left = self.line[0].queued + self.delay - now
        return left if left > 1e-9 else 0.0  # noqa: PLR2004 - a sum of floats


class BentoML(WhenFree):
    """One batch in flight for each instance, and a wait that adapts.

    The line `o_a * rows + o_b` is fitted to the last 50 batches by least squares, at most once in
    five seconds. Looking every millisecond: while the oldest of several would be later than the
    latency wanted, it is dropped; else, if no batch runs, the batch is kept back as long as the
    number that waits times (the wait of the youngest + 1 ms + `o_a`) is at most 0.95 of the wait
    that the first of a batch has had on average. The first eight batches are cut without delay
    and drop nobody, as its training does.
    """

    TICK = 0.001
    DECAY = 0.95
    TRAINING = 8
    REFRESH = 5.0

    def __init__(self, model: EngineModel, *, latency: float) -> None:
        super().__init__(model, in_flight=1)
        self.latency = latency
        self.slope, self.fixed, self.wait = min(2.0, latency / 15), min(1.0, latency / 30), 0.0
        self.seen: deque[tuple[int, float, float]] = deque(maxlen=50)
        self.ran = 0
        self.refreshed = -math.inf

    def decide(self, now: float) -> Cut | float:
        """Drop, cut, or look again in a millisecond."""
        late: list[Member] = []
        if self.ran >= self.TRAINING:
            while self.line:
                count = len(self.line)
                waited = now - self.line[0].queued
                # Alone it is dropped only where it is late already and the engine is busy.
                would = waited + (self.slope * count + self.fixed if count > 1 else 0.0)
                if would < self.latency or (count == 1 and self.running < self.slots):
                    break
                late.append(self.line.popleft())
                self.line_rows -= late[-1].rows
        self.inside -= len(late)
        decision = super().decide(now)
        if late:
            members = decision.members if isinstance(decision, Cut) else ()
            return Cut(members, "", late)
        if self.line and self.running >= self.slots:
            return self.TICK  # it looks whether somebody is late
        return decision

    def patience(self, now: float) -> float:
        """A millisecond, or none."""
        count, youngest = len(self.line), now - self.line[-1].queued
        if self.ran < self.TRAINING:
            return 0.0
        keeps = count * (youngest + self.TICK + self.slope) <= self.wait * self.DECAY
        return self.TICK if keeps else 0.0

    def ended(self, batch: Batch, now: float) -> None:
        """Learn from it."""
        super().ended(batch, now)
        self.ran += 1
        begun = batch.started if batch.started is not None else now
        wait = begun - batch.members[0].queued if self.ran > self.TRAINING else 0.0
        self.seen.append((len(batch.members), now - begun, wait))
        if self.ran >= self.TRAINING and now >= self.refreshed + self.REFRESH:
            self.refreshed = now
            rows, took, waits = np.array(self.seen).T
            fit = np.linalg.lstsq(np.stack([rows, np.ones_like(rows)], 1), took, rcond=None)[0]
            self.slope, self.fixed = max(1e-6, float(fit[0])), max(0.0, float(fit[1]))
            self.wait = float(waits.mean())
