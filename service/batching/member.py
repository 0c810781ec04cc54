"""One request inside a batch, and what its batch does for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.errors import DeadlineError, LupineError
from service.protocol.messages import Tensor
from service.protocol.span import Span

Outputs = Mapping[str, Tensor]


@dataclass(slots=True, kw_only=True, eq=False)
class Member:
    """A request in a queue, and then in a batch."""

    inputs: Mapping[str, Tensor]
    rows: int
    deadline: float
    future: asyncio.Future[Outputs]
    span: Span | None
    batch: Batch | None = None  # once it has left the queue
    queued: float = field(default_factory=time.monotonic)

    def fail(self, error: LupineError) -> None:
        """Answer with a failure, unless there is an answer."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Members that left the queue together, and the task that answers them."""

    members: Sequence[Member]
    task: asyncio.Task[None]

    def give_up_if_forsaken(self) -> None:
        """When all who were in it have gone, the engine need not finish."""
        if all(member.future.done() for member in self.members):
            self.task.cancel()


def present(members: Sequence[Member]) -> Sequence[Member]:
    """Those whom an answer still reaches: nothing is computed for the others."""
    now = time.monotonic()
    for member in members:
        if member.deadline <= now:
            member.fail(DeadlineError("the deadline passed while the request waited its turn"))
    return [member for member in members if not member.future.done()]


def fail(members: Sequence[Member], error: LupineError) -> None:
    """Answer all who have none yet with a failure."""
    for member in members:
        member.fail(error)


def waits(members: Sequence[Member]) -> Sequence[float]:
    """The seconds that each has waited until now; their spans note them."""
    now = time.monotonic()
    found = [now - member.queued for member in members]
    for member, seconds in zip(members, found, strict=True):
        if member.span is not None:
            member.span.queued, member.span.rows = seconds, member.rows
    return found


def trace(members: Sequence[Member], rows: int) -> Span | None:
    """The span that a run of the members continues: the oldest that is part of a trace."""
    spans = [member.span for member in members if member.span is not None]
    for span in spans:
        span.batch_rows = rows
    return next((span for span in spans if span.trace_id), None)
