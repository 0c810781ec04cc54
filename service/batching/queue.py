"""The queue before one servable: does what its schedule decides, with an engine and a clock."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from service.batching import merge, sizes
from service.batching.line import Kind
from service.batching.member import Batch, Member, Outputs, settle_all, trace, waits
from service.batching.schedule import Cut, Forecast, Schedule
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all queues have in common; see `Batcher`."""

    engine: Engine
    observer: Observer
    max_in_flight: int
    max_waiting: int
    max_bytes: float
    workers: int


class Queue:
    """Owns the members that wait for a servable, and the batches of it that run."""

    def __init__(self, shared: Shared, servable: Servable) -> None:
        self._shared = shared
        self._servable = servable
        self._batched = servable.policy.batching == "gateway" and servable.max_batch_size > 0
        rows = max(1, servable.max_batch_size)  # without a batch axis each runs alone
        row = sizes.of_a_row(servable)
        self._weighs = row is None
        if row:  # the bound in bytes is one in rows, once and for all
            rows = max(1, int(min(rows, shared.max_bytes // row)))
        self._schedule = Schedule(
            rows=rows,
            instances=servable.instances,
            in_flight=shared.max_in_flight,
            size=shared.max_bytes if self._weighs else math.inf,
            workers=shared.workers,
        )
        self._pump_due = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nothing runs."""
        return self._schedule.idle

    def submit(self, member: Member) -> None:
        """Let it wait, or run it where the servable is not batched here.

        Raises:
            ShedError: too many wait.
        """
        if not self._batched:
            self._send([member], "")
            return
        limit = self._shared.max_waiting
        if self._schedule.line.members >= limit:
            raise ShedError(
                f"{limit} requests wait for model {self._servable.name!r}, its limit: retry later",
                reason="queue_full",
            )
        member.kind = _kind(member)
        if self._weighs:
            member.size = sizes.of(member.inputs)
        self._schedule.line.join(member)
        self._pump_soon()

    def leave(self, member: Member) -> None:
        """It waits no more."""
        self._schedule.line.leave(member)

    def forecast(self, rows: int, priority: int, caller: int) -> Forecast:
        """What a request that joined now would meet."""
        return self._schedule.forecast(rows, priority, time.monotonic(), caller)

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
        while isinstance(decision := self._schedule.decide(time.monotonic()), Cut):
            self._refuse(decision.late)
            if members := [member for member in decision.members if member.open]:
                self._send(members, decision.reason)
        if decision < math.inf:
            self._timer = asyncio.get_running_loop().call_later(decision, self._pump)

    def _refuse(self, late: Sequence[Member]) -> None:
        """They waited in vain: nothing is computed for them."""
        now = time.monotonic()
        for member in late:
            if member.deadline <= now:
                member.settle(
                    DeadlineError("the deadline passed while the request waited its turn")
                )
            else:
                member.settle(
                    ShedError(
                        f"model {self._servable.name!r} is busy: after {now - member.queued:.3f} s "
                        "in its queue the request would be answered later than the model's SLO",
                        reason="late",
                    )
                )

    # ------------------------------------------------------------------ running

    def _send(self, members: Sequence[Member], reason: str) -> None:
        batch = self._schedule.send(members, time.monotonic())
        batch.task = asyncio.get_running_loop().create_task(self._run(batch, reason))
        batch.task.add_done_callback(lambda _: self._over(batch))

    def _over(self, batch: Batch) -> None:
        self._ended(batch, time.monotonic())
        batch.task = None  # it holds the batch

    def _ended(self, batch: Batch, now: float) -> None:
        """The engine is done with it; again does nothing."""
        if self._schedule.ended(batch, now) and self._schedule.line.members:
            self._pump_soon()

    async def _run(self, batch: Batch, released: str) -> None:
        """Answer every member, well or not."""
        members = [member for member in batch.members if member.open]
        if not members:
            return
        answered = await self._attempt(members, released)
        if answered is not None:
            now = time.monotonic()
            # Before anybody is told: who hears of it may ask again at once, and finds it idle.
            self._ended(batch, now)
            for member, part in zip(members, answered, strict=True):
                member.settle(part)
            self._schedule.learn(batch, now)  # nobody waits for it

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
                if self._schedule.in_vain(member, time.monotonic()):
                    self._refuse([member])
                if member.open:
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
