"""The mix: five forms of the protocol over two wires, several models, one to eight rows."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Self

from benchmarks.harness.gateway import Running
from benchmarks.wires.exchange import Outcome, Request, Tally
from benchmarks.wires.golden import Case
from benchmarks.wires.grpc_caller import GrpcCaller, channel
from benchmarks.wires.grpc_stream import GrpcStream
from benchmarks.wires.http_caller import HttpCaller
from benchmarks.wires.models import Requests

MODELS = ("mlp", "counts", "labels")
MAX_ROWS = 8
CONNECTIONS = 32  # of each of the HTTP forms
CHANNELS = 4
STREAMS = 8
STREAM_REQUESTS = 1000  # then a stream is ended, and the next one opened
_WARM_SECONDS = 2.0

Ask = Callable[[Request], Awaitable[Outcome]]


@dataclass(slots=True)
class Form:
    """One way to ask, and what came of it."""

    ask: Ask
    tally: Tally = field(default_factory=Tally)
    millis: list[float] = field(default_factory=list)


class Mix:
    """Holds the connections, channels and streams to one gateway while its block runs.

    Args:
        running: the gateway.
        seed: of the requests; two mixes with one seed ask the same.
        shares: by model, of the requests; equal shares of `MODELS` if there are none.
        golden: see `Requests`.
    """

    def __init__(
        self,
        running: Running,
        seed: int,
        shares: Mapping[str, float] | None = None,
        golden: Mapping[str, Sequence[Case]] | None = None,
    ) -> None:
        self._running = running
        self._requests = Requests(seed, golden)
        shares = shares or dict.fromkeys(MODELS, 1.0)
        self._models, self._shares = list(shares), list(accumulate(shares.values()))
        self._random = random.Random(seed)
        self._stack = AsyncExitStack()
        self.stray: list[str] = []
        self.streams = 0
        self.forms: Mapping[str, Form] = {}

    async def __aenter__(self) -> Self:
        channels = [
            await self._stack.enter_async_context(channel(self._running.grpc_port))
            for _ in range(CHANNELS)
        ]
        self.forms = {
            "HTTP, JSON": Form(self._http(binary=False)),
            "HTTP, binary": Form(self._http(binary=True)),
            "gRPC, raw contents": Form(_turns([GrpcCaller(one).ask for one in channels])),
            "gRPC, typed contents": Form(
                _turns([GrpcCaller(one, typed=True).ask for one in channels])
            ),
            "gRPC, streams": Form(
                _turns([self._streaming(channels[i % CHANNELS]) for i in range(STREAMS)])
            ),
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _http(self, *, binary: bool) -> Ask:
        """A fixed number of connections that take turns, so that the gateway holds as many always.

        A request waits for its turn, and its time runs meanwhile.
        """
        free: asyncio.Queue[HttpCaller] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            caller = HttpCaller(self._running.port, binary=binary)
            self._stack.callback(caller.close)
            free.put_nowait(caller)

        async def ask(request: Request) -> Outcome:
            caller = await free.get()
            try:
                return await caller.ask(request)
            finally:
                free.put_nowait(caller)

        return ask

    def _streaming(self, through: Any) -> Ask:
        """One stream after another; each is ended after so many requests, and checked."""
        slot = _Slot(self, through)
        self._stack.push_async_callback(slot.end)
        return slot.ask

    async def one(self, intended: float) -> tuple[Request, Outcome]:
        """Ask one random request of a random form; its time runs from `intended`."""
        name = self._random.choice(list(self.forms))
        form = self.forms[name]
        (model,) = self._random.choices(self._models, cum_weights=self._shares)
        request = self._requests.make(model, self._random.randint(1, MAX_ROWS))
        outcome = await form.ask(request)
        form.millis.append((time.monotonic() - intended) * 1000)
        form.tally.add(name, request, outcome)
        return request, outcome

    async def closed(self, callers: int, seconds: float) -> float:
        """Ask by so many callers without a pause; returns the requests per second."""
        end = time.monotonic() + _WARM_SECONDS + seconds
        counted = 0

        async def call() -> None:
            nonlocal counted
            while (now := time.monotonic()) < end:
                await self.one(now)
                counted += end - seconds <= time.monotonic() < end

        await asyncio.gather(*(call() for _ in range(callers)))
        return counted / seconds

    async def open(self, rate: float, seconds: float) -> Lag:
        """Ask at the times of a Poisson process, whether or not answers come."""
        lag = Lag()
        begun = due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while (due := due + self._random.expovariate(rate)) < begun + seconds:
                if (early := due - time.monotonic()) > 0:
                    await asyncio.sleep(early)
                lag.millis.append(max(0.0, time.monotonic() - due) * 1000)
                group.create_task(self.one(due))
        return lag


@dataclass(slots=True)
class Lag:
    """How late the generator itself sent each request."""

    millis: list[float] = field(default_factory=list)


class _Slot:
    """Holds one live stream of a mix."""

    def __init__(self, mix: Mix, through: Any) -> None:
        self._mix = mix
        self._through = through
        self._live: GrpcStream | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def ask(self, request: Request) -> Outcome:
        if self._live is None or self._live.ended or self._live.asked >= STREAM_REQUESTS:
            if self._live is not None:
                ending = asyncio.get_running_loop().create_task(self._finish(self._live))
                self._ending.add(ending)
            self._live = GrpcStream(self._through)
            self._mix.streams += 1
        return await self._live.ask(request)

    async def end(self) -> None:
        if self._live is not None:
            await self._finish(self._live)
        await asyncio.gather(*self._ending)

    async def _finish(self, stream: GrpcStream) -> None:
        await stream.finish()
        self._mix.stray += stream.stray


def _turns(asks: Sequence[Ask]) -> Ask:
    turn = 0

    async def ask(request: Request) -> Outcome:
        nonlocal turn
        turn += 1
        return await asks[turn % len(asks)](request)

    return ask
