"""The queue in front of one servable: cuts batches, runs them, and learns what they cost."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from service.batching import merge
from service.batching.cost import CostCurve
from service.batching.line import Kind, Line
from service.batching.member import Batch, Member, Outputs, settle_all, trace, waits
from service.batching.policy import Limits, Moment, release
from service.errors import (
    DeadlineError,
    EngineError,
    InvalidRequestError,
    LupineError,
    ShedError,
    UnavailableError,
)
from service.protocol.messages import Servable
from service.protocol.ports import Engine


class Observer(Protocol):
    """Hears what the batcher does."""

    def batch_released(self, servable: Servable, waits: Sequence[float], reason: str) -> None:
        """A batch left its queue; its members had waited so many seconds.

        The reason is one of `policy.REASONS`, or empty where there was no queue to leave.
        """

    def run_sent(self, servable: Servable, rows: int) -> None:
        """A run of `rows` was handed to the engine: a batch, or a member tried alone."""


_SHORT_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all queues have in common; see `Batcher`."""

    engine: Engine
    observer: Observer
    max_in_flight: int
    max_waiting: int
    workers: int


class Queue:
    """Owns the members that wait for a servable, and the batches of it that run."""

    def __init__(self, shared: Shared, servable: Servable) -> None:
        self._shared = shared
        self._servable = servable
        self._cost = CostCurve()  # of a run, from when the engine begins with it
        self._batched = servable.policy.batching == "gateway" and servable.max_batch_size > 0
        self._most = servable.max_batch_size
        # Of the engine's instances, this worker's part. What it sent beyond it would wait there
        # behind the batches of other workers, and nobody could tell how long.
        self._instances = max(1, round(servable.instances / shared.workers))
        self._limits = Limits(self._most, self._in_flight(0.0))
        self._line = Line()
        self._running: dict[Batch, None] = {}  # in the order in which they were sent
        self._pump_due = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nothing runs."""
        return not (self._line.members or self._running)

    def submit(self, member: Member) -> None:
        """Let it wait, or run it where the servable is not batched here.

        Raises:
            ShedError: too many wait.
        """
        if not self._batched:
            self._send([member], "")
            return
        limit = self._shared.max_waiting
        if self._line.members >= limit:
            raise ShedError(
                f"{limit} requests wait for model {self._servable.name!r}, its limit: retry later",
                reason="queue_full",
            )
        member.kind = _kind(member)
        self._line.join(member)
        self._pump_soon()

    def leave(self, member: Member) -> None:
        """It waits no more."""
        self._line.leave(member)

    def forecast(self, rows: int, priority: int) -> tuple[float, float]:
        """Seconds until a request that joins now is begun, and from then to its answer."""
        instances, now = self._instances, time.monotonic()
        wait = 0.0
        if len(self._running) >= instances:
            wait = sum(self._left(batch, now) for batch in self._running) / instances
        if self._line.members:
            ahead = self._line.rows_ahead(priority)
            full = self._limits.rows
            # Whole batches go first; by its turn, its own will have filled up behind it.
            wait += self._cost.usual(full) * (ahead // full) / instances
            rows = max(rows, full)
        return wait, self._cost.seconds(rows)

    def _left(self, batch: Batch, now: float) -> float:
        """Seconds that the engine still has to do for a batch."""
        whole = self._cost.usual(batch.rows)
        return whole if batch.started is None else max(0.0, whole - (now - batch.started))

    def _busy(self, now: float) -> float:
        """Seconds until the engine could begin with another batch."""
        begun = [batch for batch in self._running if batch.started is not None]
        if len(begun) < self._instances:
            return 0.0
        return min(self._left(batch, now) for batch in begun)

    # ------------------------------------------------------------------ cutting

    def _pump_soon(self) -> None:
        # At the end of this turn of the loop: what arrived in the same turn goes together.
        if not self._pump_due:
            self._pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._line.members:
            kind = self._line.next_kind()
            decision = release(self._moment(kind), self._limits)
            if not isinstance(decision, str):
                if decision < math.inf:
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(decision, self._pump)
                return
            members = self._present(self._line.take(kind, self._limits.rows))
            if members:
                self._send(members, decision)

    def _moment(self, kind: Kind) -> Moment:
        now = time.monotonic()
        rows = min(self._line.rows_of(kind), self._limits.rows)
        in_flight = len(self._running)
        if in_flight >= self._limits.in_flight:
            return Moment(rows, False, 0.0, 0.0, in_flight, 0.0, 0.0)  # noqa: FBT003 - no other matters
        more, age, left, total = False, 0.0, math.inf, 0
        busy = self._busy(now)
        for member in self._line.of(kind):
            total += member.rows
            if total > self._limits.rows:
                more, rows = True, total - member.rows
                break
            if in_flight and busy > 0:
                age = max(age, now - member.queued)
                left = min(left, member.deadline - now, member.until - now)
        return Moment(rows, more, age, left, in_flight, busy, self._cost.seconds(rows))

    def _present(self, members: Sequence[Member]) -> list[Member]:
        """Those whom an answer still reaches in time: nothing is computed for the others."""
        now = time.monotonic()
        for member in members:
            if member.deadline <= now:
                member.settle(
                    DeadlineError("the deadline passed while the request waited its turn")
                )
            elif member.until < math.inf and self._too_late(member, now):
                member.settle(
                    ShedError(
                        f"model {self._servable.name!r} is busy: after {now - member.queued:.3f} s "
                        "in its queue the request would be answered later than the model's SLO",
                        reason="late",
                    )
                )
        return [member for member in members if member.open]

    def _too_late(self, member: Member, now: float) -> bool:
        """Whether waiting has cost a member its SLO; one that hardly waited is served anyhow."""
        promised = member.until - member.queued
        waited = now - member.queued
        return waited > promised / 4 and now + self._cost.seconds(member.rows) > member.until

    # ------------------------------------------------------------------ running

    def _send(self, members: Sequence[Member], reason: str) -> None:
        begins = len(self._running) < self._instances
        rows = sum(member.rows for member in members)
        batch = Batch(members, rows, time.monotonic() if begins else None)
        for member in members:
            member.batch = batch
        self._running[batch] = None
        batch.task = asyncio.get_running_loop().create_task(self._run(batch, reason))
        batch.task.add_done_callback(lambda _: self._over(batch))

    def _over(self, batch: Batch) -> None:
        self._ended(batch)
        batch.task = None  # it holds the batch

    def _ended(self, batch: Batch) -> None:
        """The engine is done with it; again does nothing."""
        if batch not in self._running:
            return
        del self._running[batch]
        for next_one in self._running:
            if next_one.started is None:
                next_one.started = time.monotonic()
                break
        if self._line.members:
            self._pump_soon()

    def _learn(self, batch: Batch) -> None:
        """A batch was answered."""
        if batch.started is not None:  # one that overtook another tells nothing
            self._cost.learn(batch.rows, time.monotonic() - batch.started)
            if self._batched:
                rows = self._cost.worthwhile(self._most, _SHORT_SECONDS)
                self._limits = Limits(rows, self._in_flight(self._cost.usual(rows)))

    def _in_flight(self, seconds: float) -> int:
        """Batches that the engine may have, when each takes it so long.

        While a short one is answered and the next is cut and sent, an engine without another
        would be idle for much of its time.
        """
        wanted = self._instances + (1 if seconds < _SHORT_SECONDS else 0)
        return min(wanted, self._shared.max_in_flight)

    async def _run(self, batch: Batch, released: str) -> None:
        """Answer every member, well or not."""
        members = [member for member in batch.members if member.open]
        if not members:
            return
        answered = await self._attempt(members, released)
        if answered is not None:
            self._learn(batch)
            # Before anybody is told: who hears of it may ask again at once, and finds it idle.
            self._ended(batch)
            for member, part in zip(members, answered, strict=True):
                member.settle(part)

    async def _attempt(self, members: Sequence[Member], released: str) -> list[Outputs] | None:
        """The outputs of each; None: they have been told what failed, or tried apart."""
        failure: LupineError
        try:
            return await self._infer(members, released)
        except LupineError as error:
            failure = error
        except asyncio.CancelledError:
            settle_all(members, UnavailableError("the run was given up"))
            raise
        except BaseException as error:
            # A defect of an engine: nobody may be left waiting, and it must be seen.
            failure = EngineError(f"the engine broke: {type(error).__name__}: {error}")
            if not isinstance(error, Exception):
                settle_all(members, failure)
                raise
            context = {"message": failure.message, "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        if len(members) > 1 and isinstance(failure, EngineError | InvalidRequestError):
            await self._run_apart(members, failure)
        else:
            settle_all(members, failure)
        return None

    async def _run_apart(self, members: Sequence[Member], failure: LupineError) -> None:
        """One bad member harms no stranger: each is tried alone, in this run's place."""
        try:
            for member in members:
                if self._present([member]):
                    for part in await self._attempt([member], "") or ():
                        member.settle(part)
        finally:
            settle_all(members, failure)  # whom a cancellation left waiting

    async def _infer(self, members: Sequence[Member], released: str) -> list[Outputs]:
        observer, first = self._shared.observer, members[0]
        rows = sum(member.rows for member in members)
        if released:
            observer.batch_released(self._servable, waits(members), released)
        elif not self._batched:
            observer.batch_released(self._servable, (0.0,), "")
            if first.span is not None:
                first.span.queued, first.span.rows = 0.0, rows
        observer.run_sent(self._servable, rows)
        outputs = await self._shared.engine.infer(
            self._servable,
            [member.inputs for member in members],
            first.outputs,
            parameters=first.parameters,
            deadline=max(member.deadline for member in members),
            span=trace(members, rows),
        )
        if lacking := [name for name in first.outputs if name not in outputs]:
            raise EngineError(f"the engine's answer is broken: it lacks {', '.join(lacking)}")
        if not self._batched:
            return [outputs]
        return merge.split(outputs, [member.rows for member in members])


def _kind(member: Member) -> Kind:
    """Members of the same kind may share a batch. Their datatypes are the servable's."""
    inputs, parameters = member.inputs, member.parameters
    shapes: tuple[object, ...]
    if len(inputs) == 1:
        (shapes,) = [(name, tensor.array.shape[1:]) for name, tensor in inputs.items()]
    else:
        shapes = tuple(sorted((name, tensor.array.shape[1:]) for name, tensor in inputs.items()))
    if not parameters:
        return shapes, member.outputs
    # By their looks, which tell 1 from 1.0 and True; as values they are equal.
    return shapes, member.outputs, tuple(sorted((k, repr(v)) for k, v in parameters.items()))
