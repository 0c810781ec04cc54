"""CPU that the workers use for a request: with many models registered, and many connections open.

What is compared has the same requests in a second, at equal distances, and takes turns within one
run: only ratios count. The engine is `echo`, so that no model's own cost plays a part; where
Triton's side of the gateway is measured, another gateway with `echo` stands in Triton's place.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import Progress

from benchmarks.harness import cpu, open_files, paced, scale
from benchmarks.harness.gateway import Running, gateway
from benchmarks.harness.record import Evidence, spread
from benchmarks.wires import models
from benchmarks.wires.exchange import Request

ROUNDS = 5
SECONDS = 5.0  # of a load: a worker looks at its engine once in as many
WARM_SECONDS = 2.0
RATE = 1000.0  # requests a second
IDLE_SECONDS = 10.0
MODELS = 200
CONNECTIONS = {"HTTP": (1, 64, 1000, 5000), "gRPC": (1, 64, 1000)}
_FOR_MODELS = 64  # connections
_SETTLE_SECONDS = 0.5
_MODELS_BOUND, _CONNECTIONS_BOUND = 1.10, 1.25  # times the CPU of one, at most
_ONE = "1 model registered"
_SPREAD, _ASKED = f"{MODELS} registered, all asked", f"{MODELS} registered, 1 asked"

Held = AbstractAsyncContextManager[paced.Paced]


@dataclass(frozen=True, slots=True)
class _Load:
    """One of those that take turns: where, over which connections, what is asked."""

    running: Running
    held: Callable[[], Held]
    make: paced.Make


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a load cost: µs of CPU for each answer, at so many answers a second."""

    micros: float
    rate: float


def main() -> int:
    """Measure, print and record."""
    evidence = Evidence("scaling", "engine echo; 2 workers")
    scale.tell(evidence)
    open_files.make_room(max(map(max, CONNECTIONS.values())))
    with tempfile.TemporaryDirectory(prefix="lupine-scaling-") as scratch:
        one = models.build(Path(scratch) / "one", ["rows"])
        many = _copies(one / "rows", Path(scratch) / "many")
        with _echo(one) as few, _echo(many) as lots:
            asyncio.run(_models(evidence, "engine echo", few, lots))
            asyncio.run(_connections(evidence, few))
        with (
            _echo(one, workers=1) as first,
            _echo(many, workers=1) as second,
            _before(first) as few,
            _before(second) as lots,
        ):
            asyncio.run(_models(evidence, "engine triton", few, lots))
    return evidence.finish()


def _copies(model: Path, folder: Path) -> Path:
    """A repository with so many models, all alike."""
    for name in _names():
        shutil.copytree(model, folder / name)
    return folder


def _names() -> list[str]:
    return [f"rows{i}" for i in range(MODELS)]


@contextmanager
def _echo(repository: Path, workers: int = 2) -> Iterator[Running]:
    flags = ("--repository", str(repository), "--engine", "echo", "--workers", str(workers))
    with gateway(*flags) as running:
        yield running


@contextmanager
def _before(behind: Running) -> Iterator[Running]:
    """A gateway that takes another one for a Triton elsewhere."""
    flags = ("--engine", "triton", "--triton-url", behind.grpc_url, "--workers", "2")
    http = {"LUPINE_TRITON__HTTP_URL": behind.url.removeprefix("http://")}
    with gateway(*flags, environment=http) as running:
        yield running


async def _models(evidence: Evidence, engine: str, few: Running, lots: Running) -> None:
    _idle(evidence, engine, {_ONE: few, f"{MODELS} registered": lots})
    names = _names()
    loads = {
        name: _Load(running, partial(paced.over_http, running, _FOR_MODELS, binary=True), make)
        for name, running, make in (
            (_ONE, few, _asking(["rows"])),
            (_SPREAD, lots, _asking(names)),
            (_ASKED, lots, _asking(names[:1])),
        )
    }
    costs = await _by_turns(evidence, engine, loads)
    _judge(evidence, engine, costs, _ONE, _MODELS_BOUND)


async def _connections(evidence: Evidence, running: Running) -> None:
    for wire, counts in CONNECTIONS.items():
        loads = {
            _plural(count): _Load(running, partial(_held, wire, running, count), _asking(["rows"]))
            for count in counts
        }
        costs = await _by_turns(evidence, wire, loads)
        _judge(evidence, wire, costs, _plural(counts[0]), _CONNECTIONS_BOUND)


def _held(wire: str, running: Running, count: int) -> Held:
    if wire == "gRPC":
        return paced.over_grpc(running, count)
    return paced.over_http(running, count, binary=True)


def _plural(connections: int) -> str:
    return f"{connections:,} connection" + ("s" if connections > 1 else "")


def _asking(names: list[str]) -> paced.Make:
    """Requests to each of the models in turn, in a random order."""
    requests = models.Requests(seed=1)
    turns = itertools.cycle(random.Random(1).sample(names, len(names)))

    def make() -> Request:
        return replace(requests.make("rows"), model=next(turns))

    return make


def _idle(evidence: Evidence, engine: str, gateways: Mapping[str, Running]) -> None:
    """What the workers use while nobody asks."""
    workers = {name: running.workers() for name, running in gateways.items()}
    before = {name: cpu.seconds(processes) for name, processes in workers.items()}
    seconds = scale.seconds(IDLE_SECONDS, 5.0)
    time.sleep(seconds)
    for name, processes in workers.items():
        share = (cpu.seconds(processes) - before[name]) / seconds / len(processes)
        evidence.add(f"{engine}: {name}, idle", f"{share:.2%} of a core for each worker")
        evidence.raw[f"{engine}: {name}, idle share"] = share


async def _by_turns(
    evidence: Evidence, what: str, loads: Mapping[str, _Load]
) -> Mapping[str, list[_Cost]]:
    costs: dict[str, list[_Cost]] = {name: [] for name in loads}
    rounds = scale.times(ROUNDS)
    with Progress() as progress:
        task = progress.add_task(what, total=(1 + rounds) * len(loads))
        for turn in range(1 + rounds):  # the first one warms
            for name, load in loads.items():
                seconds = SECONDS if turn else WARM_SECONDS
                cost = await _measured(evidence, f"{what}, {name}", load, seconds)
                if turn:
                    costs[name].append(cost)
                progress.advance(task)
    return costs


async def _measured(evidence: Evidence, name: str, load: _Load, seconds: float) -> _Cost:
    async with load.held() as held:
        await held.open(load.make)
        await asyncio.sleep(_SETTLE_SECONDS)
        workers = load.running.workers()
        begun, before = time.monotonic(), cpu.seconds(workers)
        answered = await held.run(load.make, RATE, seconds)
        used, took = cpu.seconds(workers) - before, time.monotonic() - begun
        held.judge(evidence, name)
    if not answered:
        raise RuntimeError(f"{name}: nothing was answered: {held.tally.texts.most_common(3)}")
    return _Cost(used / answered * 1e6, answered / took)


def _judge(
    evidence: Evidence,
    what: str,
    costs: Mapping[str, list[_Cost]],
    base: str,
    bound: float,
) -> None:
    """Each load beside the first one, by the median of the rounds' ratios."""
    for name, found in costs.items():
        evidence.add(
            f"{what}: {name}",
            f"{spread([cost.micros for cost in found], 0)} µs of CPU for a request, "
            f"{spread([cost.rate for cost in found], 0)} requests/s",
        )
        evidence.raw[f"{what}: {name}"] = [
            {"cpu_us": round(cost.micros, 2), "rate": round(cost.rate, 1)} for cost in found
        ]
    for name in [other for other in costs if other != base]:
        pairs = zip(costs[name], costs[base], strict=True)
        ratios = [ours.micros / theirs.micros for ours, theirs in pairs]
        evidence.add(
            f"{what}: {name} ÷ {base}",
            spread(ratios, 2),
            f"≤ {bound:g}",
            holds=float(np.median(ratios)) <= bound,
        )
