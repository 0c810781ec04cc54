"""A rolling restart of two gateways under clients that know both, and retry what may be retried."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass

from benchmarks.drain.load import Caller
from benchmarks.harness.gateway import Running, free_port, gateway
from benchmarks.wires.exchange import Fate, Outcome, Tally
from benchmarks.wires.grpc_caller import GrpcCaller, channel
from benchmarks.wires.http_caller import HttpCaller
from benchmarks.wires.models import Requests

CHANNELS = 4  # to each gateway
THINK_SECONDS = 0.1  # or the latencies would be those of a full machine
SETTLE_SECONDS = 1.0
"""Between one gateway's readiness and the other's stop, as a rollout's minReadySeconds.

A gRPC channel that was refused tries to connect again only so often (`RECONNECT_MS`).
"""
RECONNECT_MS = 500
_RETRIED = {
    "HTTP": {"503": "HTTP 503", "connection refused": "HTTP connection refused"},
    "gRPC": {
        "UNAVAILABLE": "gRPC UNAVAILABLE",
        "connection refused": "gRPC UNAVAILABLE, connection refused",
        "no connection": "gRPC UNAVAILABLE, no connection",
    },
}


@dataclass(frozen=True, slots=True)
class Served:
    """One request as its client saw it, retries included; monotonic times."""

    wire: str
    begun: float
    ended: float


class Clients:
    """Clients of both gateways that take turns, and retry on the other what may be retried.

    HTTP 503, a refused connection and gRPC UNAVAILABLE may; all else is a failure, and so is what
    the other gateway did not answer either.

    Args:
        ports: HTTP and gRPC port of each gateway.
        model: what they ask for.
        callers: how many on each wire.
    """

    def __init__(self, ports: Sequence[tuple[int, int]], model: str, callers: int) -> None:
        self._ports = ports
        self._model = model
        self._count = callers
        self._requests = Requests(callers)
        self._random = random.Random(callers)
        self._over = False
        self.tallies = {wire: Tally() for wire in _RETRIED}
        self.retries: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()
        self.served: list[Served] = []

    async def run(self) -> None:
        """Ask until `stop`."""
        async with AsyncExitStack() as stack:
            channels = [
                [
                    await stack.enter_async_context(
                        channel(
                            port,
                            **{
                                "grpc.initial_reconnect_backoff_ms": RECONNECT_MS,
                                "grpc.max_reconnect_backoff_ms": RECONNECT_MS,
                            },
                        )
                    )
                    for _, port in self._ports
                ]
                for _ in range(CHANNELS)
            ]
            callers: list[tuple[str, list[Caller]]] = []
            for i in range(self._count):
                callers.append(("HTTP", [HttpCaller(port) for port, _ in self._ports]))
                callers.append(("gRPC", [GrpcCaller(one) for one in channels[i % CHANNELS]]))
            await asyncio.gather(*(self._go_on(wire, pair) for wire, pair in callers))

    def stop(self) -> None:
        """Let each client end with the request under way."""
        self._over = True

    async def _go_on(self, wire: str, gateways: list[Caller]) -> None:
        turn = 0
        while not self._over:
            await asyncio.sleep(self._random.uniform(0, 2 * THINK_SECONDS))
            request = self._requests.make(self._model)
            turn += 1
            begun = time.monotonic()
            for attempt in range(2):
                outcome = await gateways[(turn + attempt) % 2].ask(request)
                if attempt == 0 and self._may_retry(wire, outcome):
                    continue
                break
            self.tallies[wire].add(wire, request, outcome)
            if outcome.fate is Fate.ANSWERED:
                self.served.append(Served(wire, begun, time.monotonic()))

    def _may_retry(self, wire: str, outcome: Outcome) -> bool:
        kind = _RETRIED[wire].get(outcome.kind)
        if kind is None or outcome.fate is Fate.ANSWERED:
            return False
        self.retries[kind] += 1
        self.texts[f"{wire}, {outcome.fate}: {outcome.text}"] += 1
        return True


@dataclass(frozen=True, slots=True)
class Restart:
    """One gateway stopped and started again; monotonic times."""

    name: str
    begun: float
    stopped: float
    ready: float
    exit_status: int | None


class Rollout:
    """Two gateways on ports of their own, over one repository.

    Args:
        flags: of `lupine serve`, for both.
    """

    def __init__(self, *flags: str) -> None:
        self._flags = flags
        self.ports = [(free_port(), free_port()) for _ in range(2)]
        self._stacks = [ExitStack(), ExitStack()]
        self._running: dict[int, Running] = {}
        self.restarts: list[Restart] = []

    async def start(self, index: int) -> None:
        """Start one, and return when it is ready."""
        port, grpc_port = self.ports[index]
        self._running[index] = await asyncio.to_thread(
            self._stacks[index].enter_context,
            gateway(*self._flags, port=port, grpc_port=grpc_port),
        )

    async def stop(self, index: int) -> int | None:
        """SIGTERM one, wait for its end, and return its exit status."""
        await asyncio.to_thread(self._stacks[index].close)
        return self._running[index].process.returncode

    async def restart(self, index: int) -> None:
        """Stop one, start it again on its ports, and return when it is ready."""
        begun = time.monotonic()
        status = await self.stop(index)
        stopped = time.monotonic()
        await self.start(index)
        name = "AB"[index]
        self.restarts.append(Restart(name, begun, stopped, time.monotonic(), status))


async def roll(clients: Clients, rollout: Rollout, *, rounds: int, steady: float) -> None:
    """Restart A, then B, so many times, after some steady seconds; clients ask throughout."""
    load = asyncio.create_task(clients.run())
    await asyncio.sleep(steady)
    for _ in range(rounds):
        for index in range(2):
            await rollout.restart(index)
            await asyncio.sleep(SETTLE_SECONDS)
    await asyncio.sleep(steady)
    clients.stop()
    await load
