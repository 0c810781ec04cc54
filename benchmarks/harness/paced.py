"""Connections that are all kept open and take turns, at one steady pace for all of them.

However many there are, as many requests come in a second, at equal distances: what differs between
two runs is the number of connections alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from benchmarks.harness.gateway import Running
from benchmarks.harness.record import Evidence
from benchmarks.wires.exchange import Fate, Outcome, Request, Tally
from benchmarks.wires.grpc_caller import GrpcCaller, channel
from benchmarks.wires.http_caller import HttpCaller

Ask = Callable[[Request], Awaitable[Outcome]]
Make = Callable[[], Request]

_OPENING = 64  # connections at once


class Paced:
    """Asks over each of its connections in turn, and judges every answer.

    Args:
        name: of the wire, for the record.
        asks: one for each connection. A connection has one request at a time.
    """

    def __init__(self, name: str, asks: Sequence[Ask]) -> None:
        self._name = name
        self._asks = asks
        self._free: asyncio.Queue[Ask] = asyncio.Queue()
        self.tally = Tally()

    async def open(self, make: Make) -> None:
        """Make every connection, by a request over each."""
        slots = asyncio.Semaphore(_OPENING)

        async def first(ask: Ask) -> None:
            async with slots:
                await self._one(ask, make())

        async with asyncio.TaskGroup() as group:
            for ask in self._asks:
                group.create_task(first(ask))

    async def run(self, make: Make, rate: float, seconds: float) -> int:
        """Ask `rate` times a second for so long.

        Returns:
            How many were answered, rightly or not; each that was not is in the tally.
        """
        before = self.tally.fates[Fate.ANSWERED]
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for i in range(int(rate * seconds)):
                if (early := begun + i / rate - time.monotonic()) > 0:
                    await asyncio.sleep(early)
                ask = await self._free.get()
                group.create_task(self._one(ask, make()))
        return self.tally.fates[Fate.ANSWERED] - before

    async def _one(self, ask: Ask, request: Request) -> None:
        try:
            self.tally.add(self._name, request, await ask(request))
        finally:
            self._free.put_nowait(ask)

    def judge(self, evidence: Evidence, phase: str) -> None:
        """Every answer that was wrong, and every request without one, is a fault."""
        for what in self.tally.wrong:
            evidence.fault(f"{phase}, {what}")
        for text, count in self.tally.texts.items():
            evidence.fault(f"{phase}: {count} times {text}")


@asynccontextmanager
async def over_http(running: Running, count: int, *, binary: bool) -> AsyncIterator[Paced]:
    """So many connections over HTTP, made by `open`, until the block ends."""
    callers = [HttpCaller(running.port, binary=binary) for _ in range(count)]
    try:
        yield Paced("HTTP", [caller.ask for caller in callers])
    finally:
        for caller in callers:
            caller.close()


@asynccontextmanager
async def over_grpc(running: Running, count: int) -> AsyncIterator[Paced]:
    """So many channels over gRPC, a connection each, made by `open`, until the block ends."""
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(channel(running.grpc_port)) for _ in range(count)
        ]
        yield Paced("gRPC", [GrpcCaller(one).ask for one in channels])
