"""Many callers on both wires that go on through a stop, and what became of all they asked."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from benchmarks.harness.gateway import Running
from benchmarks.wires.exchange import Fate, Outcome, Request, Tally
from benchmarks.wires.grpc_caller import GrpcCaller, channel
from benchmarks.wires.http_caller import HttpCaller
from benchmarks.wires.models import Requests

WIRES = ("HTTP", "gRPC")
CHANNELS = 8
_PAUSE = 0.05  # after a refusal


class Caller(Protocol):
    """What both wires' callers are."""

    async def ask(self, request: Request) -> Outcome:
        """Send one request, once."""
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """One request: when it was sent and answered, monotonic, and how far it got."""

    wire: str
    sent: float
    ended: float
    fate: Fate


class Load:
    """So many callers a wire, each with its next request as soon as the last one is over.

    Args:
        running: whom they ask.
        model: for what.
        callers: how many on each wire; on gRPC they share `CHANNELS` channels.
    """

    def __init__(self, running: Running, model: str, callers: int) -> None:
        self._running = running
        self._model = model
        self._count = callers
        self._requests = Requests(callers)
        self._over = False
        self.events: list[Event] = []
        self.tallies = {wire: Tally() for wire in WIRES}

    async def run(self) -> None:
        """Ask until `stop`, and return when every request is over."""
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(channel(self._running.grpc_port))
                for _ in range(CHANNELS)
            ]
            http = [HttpCaller(self._running.port) for _ in range(self._count)]
            over_grpc = [GrpcCaller(channels[i % CHANNELS]) for i in range(self._count)]
            await asyncio.gather(
                *(self._go_on("HTTP", caller) for caller in http),
                *(self._go_on("gRPC", caller) for caller in over_grpc),
            )
            for caller in http:
                caller.close()

    def stop(self) -> None:
        """Let each caller end with the request under way."""
        self._over = True

    async def _go_on(self, wire: str, caller: Caller) -> None:
        while not self._over:
            request = self._requests.make(self._model)
            sent = time.monotonic()
            outcome = await caller.ask(request)
            self.events.append(Event(wire, sent, time.monotonic(), outcome.fate))
            self.tallies[wire].add(wire, request, outcome)
            if outcome.fate is not Fate.ANSWERED:
                await asyncio.sleep(_PAUSE)

    def fates(self, wire: str, *, before: float, after: float) -> dict[str, int]:
        """Fates of what was sent before one moment and over only after another."""
        found = Counter(
            event.fate.value
            for event in self.events
            if event.wire == wire and event.sent < before and event.ended > after
        )
        return dict(found)
