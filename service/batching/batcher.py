"""The queues in front of an engine: one per servable, trailing shapes, outputs and parameters."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.batching import merge
from service.batching.member import Batch, Member, Outputs, fail, present, trace, waits
from service.batching.policy import members_to_cut
from service.errors import (
    EngineError,
    InvalidRequestError,
    LupineError,
    ShedError,
    UnavailableError,
)
from service.protocol.messages import Parameter, Servable, Tensor
from service.protocol.ports import Engine
from service.protocol.span import Span


class Observer(Protocol):
    """Hears what the batcher does."""

    def batch_released(self, servable: Servable, waits: Sequence[float], reason: str) -> None:
        """A batch left its queue; its members had waited so many seconds.

        The reason is `full`, `idle_engine`, or empty where there was no queue to leave.
        """

    def run_sent(self, servable: Servable, rows: int) -> None:
        """A run of `rows` was handed to the engine: a batch, or a member tried alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What all queues have in common; see `Batcher`."""

    engine: Engine
    observer: Observer
    max_in_flight: int
    max_waiting: int


class Batcher:
    """Merges concurrent requests for the same servable into runs of the engine.

    Args:
        engine: what runs the batches.
        observer: hears of each batch.
        max_in_flight: batches per queue that the engine may work on at once.
        max_waiting: members that may wait in one queue.
    """

    def __init__(
        self, engine: Engine, observer: Observer, *, max_in_flight: int, max_waiting: int
    ) -> None:
        self._shared = _Shared(
            engine=engine,
            observer=observer,
            max_in_flight=max_in_flight,
            max_waiting=max_waiting,
        )
        self._queues: dict[object, _Queue] = {}

    async def infer(
        self,
        servable: Servable,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],
        *,
        rows: int,
        parameters: Mapping[str, Parameter],
        deadline: float,
        span: Span | None = None,
    ) -> Outputs:
        """The named outputs for `inputs`, which are valid and have `rows` rows.

        A run that merges several requests continues the trace of the oldest that has one.

        Raises:
            ShedError: the queue is full.
            DeadlineError: the deadline passed while the request waited.
            EngineError: the engine fails on this input, also when it is run alone.
            LupineError: whatever else the engine raises.
        """
        if servable.policy.batching != "gateway" or servable.max_batch_size == 0:
            self._shared.observer.batch_released(servable, (0.0,), "")
            self._shared.observer.run_sent(servable, rows)
            if span is not None:
                span.queued, span.rows, span.batch_rows = 0.0, rows, rows
            return await self._shared.engine.infer(
                servable, inputs, outputs, parameters=parameters, deadline=deadline, span=span
            )
        key = (
            id(servable),  # the queue keeps the servable alive, so no other takes its id
            tuple(outputs),
            tuple(sorted((n, t.datatype.name, t.shape[1:]) for n, t in inputs.items())),
            # By their looks, which tell 1 from 1.0 and True; as values they are equal.
            tuple(sorted((k, repr(v)) for k, v in parameters.items())) if parameters else (),
        )
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue(
                self._shared,
                servable,
                tuple(outputs),
                parameters,
                on_idle=lambda: self._queues.pop(key, None),
            )
        return await queue.submit(inputs, rows, deadline, span)


class _Queue:
    """Owns the members that may share a batch. Vanishes when it is idle."""

    def __init__(
        self,
        shared: _Shared,
        servable: Servable,
        outputs: tuple[str, ...],
        parameters: Mapping[str, Parameter],
        *,
        on_idle: Callable[[], object],
    ) -> None:
        self._shared = shared
        self._servable = servable
        self._outputs = outputs
        self._parameters = parameters
        self._on_idle = on_idle
        self._waiting: OrderedDict[Member, None] = OrderedDict()  # oldest first
        self._running: set[asyncio.Task[None]] = set()
        self._pump_due = False

    async def submit(
        self, inputs: Mapping[str, Tensor], rows: int, deadline: float, span: Span | None
    ) -> Outputs:
        limit = self._shared.max_waiting
        if len(self._waiting) >= limit:
            raise ShedError(
                f"{limit} requests wait for model {self._servable.name!r}, its limit: retry later",
                reason="queue_full",
            )
        loop = asyncio.get_running_loop()
        member = Member(
            inputs=inputs, rows=rows, deadline=deadline, future=loop.create_future(), span=span
        )
        self._waiting[member] = None
        self._pump_soon()
        try:
            return await member.future
        except asyncio.CancelledError:
            if member.batch is not None:
                member.batch.give_up_if_forsaken()
            raise
        finally:
            self._waiting.pop(member, None)  # whoever leaves early holds no place

    def _pump_soon(self) -> None:
        # At the end of this turn of the loop: what arrived in the same turn goes together.
        if not self._pump_due:
            self._pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        while count := members_to_cut(
            (member.rows for member in self._waiting),
            max_rows=self._servable.max_batch_size,
            in_flight=len(self._running),
            max_in_flight=self._shared.max_in_flight,
        ):
            members = [self._waiting.popitem(last=False)[0] for _ in range(count)]
            # What is left would not fit; where nothing is, only the engine was waited for.
            rows = sum(member.rows for member in members)
            full = self._waiting or rows >= self._servable.max_batch_size
            reason = "full" if full else "idle_engine"
            task = asyncio.get_running_loop().create_task(self._run(members, reason))
            batch = Batch(members, task)
            for member in members:
                member.batch = batch
            self._running.add(task)
            task.add_done_callback(self._ran)
        if not self._waiting and not self._running:
            self._on_idle()

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._pump_soon()

    async def _run(self, members: Sequence[Member], released: str) -> None:
        """Answer every member, well or not; empty: they had left the queue before."""
        members = present(members)
        if not members:
            return
        failure: LupineError
        try:
            parts = await self._infer(members, released)
        except LupineError as error:
            failure = error
        except asyncio.CancelledError:
            fail(members, UnavailableError("the run was given up"))
            raise
        except BaseException as error:
            # A defect of an engine: nobody may be left waiting, and it must be seen.
            failure = EngineError(f"the engine broke: {type(error).__name__}: {error}")
            if not isinstance(error, Exception):
                fail(members, failure)
                raise
            context = {"message": failure.message, "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        else:
            for member, part in zip(members, parts, strict=True):
                if not member.future.done():
                    member.future.set_result(part)
            return
        if len(members) > 1 and isinstance(failure, EngineError | InvalidRequestError):
            await self._run_apart(members, failure)
        else:
            fail(members, failure)

    async def _run_apart(self, members: Sequence[Member], failure: LupineError) -> None:
        """One bad member harms no stranger: each is tried alone, in this run's place."""
        try:
            for member in members:
                await self._run([member], "")
        finally:
            fail(members, failure)  # whom a cancellation left waiting

    async def _infer(self, members: Sequence[Member], released: str) -> list[Outputs]:
        if released:
            self._shared.observer.batch_released(self._servable, waits(members), released)
        rows = sum(member.rows for member in members)
        self._shared.observer.run_sent(self._servable, rows)
        outputs = await self._shared.engine.infer(
            self._servable,
            merge.concat([member.inputs for member in members]),
            self._outputs,
            parameters=self._parameters,
            deadline=max(member.deadline for member in members),
            span=trace(members, rows),
        )
        return merge.split(outputs, [member.rows for member in members])
