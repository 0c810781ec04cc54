"""Requests on their way through the engine: together where they may be, each with its answer."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence

from service.batching.expiry import Expiry
from service.batching.member import Batch, Member, Outputs
from service.batching.queue import Observer, Queue, Shared
from service.batching.schedule import Forecast
from service.errors import DeadlineError, LupineError
from service.protocol.messages import Parameter, Servable, Snapshot, Tensor
from service.protocol.ports import Engine
from service.protocol.span import Span


class Batcher:
    """Merges concurrent requests for the same servable into runs of the engine.

    Args:
        engine: what runs the batches.
        observer: hears of each batch.
        max_in_flight: batches of one servable that the engine may have at once from this worker.
        max_waiting: members that may wait for one servable.
        max_bytes: of the inputs of a batch; a single request may have more.
        workers: how many share the engine, each with a batcher of its own.
    """

    def __init__(
        self,
        engine: Engine,
        observer: Observer,
        *,
        max_in_flight: int,
        max_waiting: int,
        max_bytes: float = math.inf,
        workers: int = 1,
    ) -> None:
        self._shared = Shared(
            engine=engine,
            observer=observer,
            max_in_flight=max_in_flight,
            max_waiting=max_waiting,
            max_bytes=max_bytes,
            workers=workers,
        )
        self._queues: dict[int, Queue] = {}  # a queue keeps its servable: no other takes its id
        self._expiry: Expiry[Member] = Expiry(self._expired)

    def submit(self, member: Member) -> None:
        """Take a member in; its answer comes by its callback, from a later turn of the loop on.

        Raises:
            ShedError: the queue is full.
        """
        self._queue(member.servable).submit(member)
        member.bucket = self._expiry.watch(member, member.deadline, member.queued)

    def withdraw(self, member: Member) -> None:
        """Nobody waits for it any more: it is not computed, unless it is already."""
        if not member.open:
            return
        batch = member.batch
        member.close()
        self._leave(member, batch)

    def _leave(self, member: Member, batch: Batch | None) -> None:
        if batch is None:
            self._queue(member.servable).leave(member)
        else:
            batch.give_up_if_forsaken()

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
            DeadlineError: the deadline passed.
            EngineError: the engine fails on this input, also when it is run alone.
            LupineError: whatever else the engine raises.
        """
        answered: asyncio.Future[Outputs | LupineError]
        answered = asyncio.get_running_loop().create_future()

        def resolve(outcome: Outputs | LupineError) -> None:
            if not answered.done():
                answered.set_result(outcome)

        member = Member(
            servable=servable,
            inputs=inputs,
            outputs=tuple(outputs),
            rows=rows,
            parameters=parameters,
            deadline=deadline,
            answer=resolve,
            span=span,
        )
        self.submit(member)
        try:
            outcome = await answered
        except asyncio.CancelledError:
            self.withdraw(member)
            raise
        if isinstance(outcome, LupineError):
            raise outcome
        return outcome

    def forecast(self, servable: Servable, rows: int, priority: int, caller: int = 0) -> Forecast:
        """What a request for `servable` by this caller would meet now."""
        queue = self._queues.get(id(servable))
        return Forecast() if queue is None else queue.forecast(rows, priority, caller)

    def serving(self, snapshot: Snapshot) -> None:
        """Forget what was learned of servables that are no more."""
        serving = {id(s) for versions in snapshot.servables.values() for s in versions.values()}
        for key in self._queues.keys() - serving:
            if self._queues[key].idle:
                del self._queues[key]

    def _queue(self, servable: Servable) -> Queue:
        queue = self._queues.get(id(servable))
        if queue is None:
            queue = self._queues[id(servable)] = Queue(self._shared, servable)
        return queue

    def _expired(self, member: Member) -> None:
        waited = time.monotonic() - member.queued
        batch = member.batch
        where = "waited its turn" if batch is None else "was computed"
        member.settle(
            DeadlineError(
                f"the deadline passed {waited:.3f} s after the request for model "
                f"{member.servable.name!r:.200} arrived, while it {where}"
            )
        )
        self._leave(member, batch)
