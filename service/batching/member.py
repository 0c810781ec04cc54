"""One request inside a batch, and what its batch does for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from service.errors import LupineError
from service.protocol.messages import Parameter, Servable, Tensor
from service.protocol.span import Span

Outputs = Mapping[str, Tensor]


@dataclass(slots=True, kw_only=True, eq=False)
class Member:
    """A request in a queue, and then in a batch.

    Args:
        servable: what it asks.
        inputs: valid for the servable.
        outputs: the names wanted.
        rows: that it has.
        parameters: for the model.
        deadline: seconds of `time.monotonic()` after which nobody waits.
        until: the same, after which an answer breaks the model's SLO.
        priority: 1 is highest.
        answer: called once, with the outputs or what failed, unless it is withdrawn before.
        span: where somebody looks at it.
        caller: the connection that it came by, by any number, if that may have several requests at
            once; 0: it stands for itself.
        size: bytes of its inputs, where they bound batches; the queue knows.
    """

    servable: Servable
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    rows: int
    parameters: Mapping[str, Parameter]
    deadline: float
    answer: Callable[[Outputs | LupineError], object]
    until: float = math.inf
    priority: int = 1
    span: Span | None = None
    caller: int = 0
    size: int = 0
    kind: object = None  # members of one kind may share a batch; the queue knows
    open: bool = True  # nobody has answered it, and somebody waits
    batch: Batch | None = None  # once it has left the queue
    bucket: dict[Member, None] | None = None  # where its deadline is watched
    queued: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        """Nobody waits for it any more. What points back at it is let go of: no cycle is left."""
        self.open = False
        self.answer = _nobody_waits
        self.batch = None
        if self.bucket is not None:
            self.bucket.pop(self, None)
            self.bucket = None

    def settle(self, outcome: Outputs | LupineError) -> None:
        """Answer it, unless it has been."""
        if not self.open:
            return
        answer = self.answer
        self.close()
        try:
            answer(outcome)
        except Exception as error:  # noqa: BLE001 - the others of its batch must be answered too
            context = {"message": f"an answer could not be given: {error}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


@dataclass(slots=True, eq=False)
class Batch:
    """Members that left the queue together, and the task that answers them."""

    members: Sequence[Member]
    rows: int
    started: float | None  # when the engine began with it, as far as can be known
    task: asyncio.Task[None] | None = None

    def give_up_if_forsaken(self) -> None:
        """When all who were in it have gone, the engine need not finish."""
        if self.task is not None and not any(member.open for member in self.members):
            self.task.cancel()


def _nobody_waits(_: Outputs | LupineError) -> None:
    """In the place of an answer that has been given."""


def settle_all(members: Sequence[Member], error: LupineError) -> None:
    """Answer all who have no answer yet with a failure."""
    for member in members:
        member.settle(error)


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
