"""What a load balancer sees: readiness asked for again and again, each time on a new connection.

It is asked by a process of its own, `python -m benchmarks.drain.readiness HTTP_PORT GRPC_PORT`:
beside a hundred busy callers a probe would wait for its turn longer than the gateway drains.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.harness.gateway import ROOT, Running
from benchmarks.wires.exchange import Fate, Outcome
from benchmarks.wires.grpc_caller import channel, outcome_of
from benchmarks.wires.http_caller import HttpCaller

READY, NOT_READY, REFUSED = "ready", "not ready", "connection refused"
_PATIENCE = 5.0
_PAUSE = 0.025
_REQUEST = b"GET /v2/health/ready HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n"


@dataclass(slots=True)
class Seen:
    """What the probes of one wire were told.

    Args:
        changes: monotonic time of the first answer that told something new, and what. (A probe
            that was sent before a signal may be answered after it.)
        counts: how often each was told. All but ready, not ready and refused is a fault.
    """

    changes: list[tuple[float, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, state: str) -> None:
        """Take note of one answer, now."""
        self.counts[state] += 1
        if not self.changes or self.changes[-1][1] != state:
            self.changes.append((time.monotonic(), state))

    def first(self, since: float, state: str) -> float | None:
        """Seconds after `since` at which the state was first told; None: never."""
        return next((at - since for at, it in self.changes if at >= since and it == state), None)

    def first_not(self, since: float, state: str) -> float | None:
        """Seconds after `since` at which anything but the state was first told."""
        return next((at - since for at, it in self.changes if at >= since and it != state), None)

    def faults(self) -> dict[str, int]:
        """What no probe should be told, with counts."""
        return {k: n for k, n in self.counts.items() if k not in (READY, NOT_READY, REFUSED)}


@asynccontextmanager
async def probed(running: Running) -> AsyncIterator[dict[str, Seen]]:
    """Probe both wires while the block runs; what they were told is there after it."""
    ports = (str(running.port), str(running.grpc_port))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, *ports),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    found: dict[str, Seen] = {}
    if process.stdout is None:
        raise RuntimeError("the prober has no output")
    await process.stdout.readline()  # it is about to begin
    try:
        yield found
    finally:
        told, _ = await process.communicate(b"")  # the end of its input is the word to stop
        for wire, seen in json.loads(told).items():
            changes = [(at, state) for at, state in seen["changes"]]
            found[wire] = Seen(changes, Counter(seen["counts"]))


async def _probe(probe: Callable[[int], Awaitable[str]], port: int, over: asyncio.Event) -> Seen:
    seen = Seen()
    while not over.is_set():
        seen.add(await probe(port))
        await asyncio.sleep(_PAUSE)
    return seen


async def _both(port: int, grpc_port: int) -> None:
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = {
            "HTTP": group.create_task(_probe(_http, port, over)),
            "gRPC": group.create_task(_probe(_grpc, grpc_port, over)),
        }
        print("probing", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        over.set()
    told = {
        wire: {"changes": task.result().changes, "counts": task.result().counts}
        for wire, task in tasks.items()
    }
    print(json.dumps(told))


async def _http(port: int) -> str:
    caller = HttpCaller(port)
    try:
        async with asyncio.timeout(_PATIENCE):
            outcome = await caller.send(_REQUEST)
    except TimeoutError:
        return "hung"
    finally:
        caller.close()
    if outcome.kind == "200":
        return READY
    return NOT_READY if outcome.kind.isdigit() else _word(outcome)


async def _grpc(port: int) -> str:
    async with channel(port) as through:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(through)
        try:
            answer = await stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=_PATIENCE)
        except grpc.aio.AioRpcError as error:
            outcome = outcome_of(error)
        else:
            return READY if answer.ready else NOT_READY
    return NOT_READY if outcome.fate is Fate.REFUSED else _word(outcome)


def _word(outcome: Outcome) -> str:
    return REFUSED if outcome.kind == "connection refused" else outcome.text


if __name__ == "__main__":
    asyncio.run(_both(int(sys.argv[1]), int(sys.argv[2])))
