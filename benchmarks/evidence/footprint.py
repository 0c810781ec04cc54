"""What the gateway holds: memory when idle, in a soak, and with many connections in use.

Each part has a gateway of its own: what one has left free would hide what the next one needs.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from benchmarks.harness import open_files, paced, scale
from benchmarks.harness.gateway import Running, gateway
from benchmarks.harness.record import Evidence
from benchmarks.mixed import report
from benchmarks.mixed.mix import MAX_ROWS, MODELS, Mix
from benchmarks.mixed.resources import Series, watching
from benchmarks.wires import models
from benchmarks.wires.exchange import Request

IDLE_SECONDS = 20.0
CAPACITY_SECONDS = 15.0
CALLERS = 64  # of the closed loop that finds the capacity
LOAD = 0.5  # of the capacity
WARM_SECONDS = 60.0
SOAK_SECONDS = 600.0
CONNECTIONS = 2000
FEW = 16
HELD_SECONDS = 60.0
RATE = 200.0  # requests a second over the connections, few or many
_SAMPLE_SECONDS = 5.0
_CLOSED_SECONDS = 15.0  # in which descriptors are back
_MB = 1e6
_MIB = 1 << 20
_MAX_IDLE, _MAX_ADDED = 150.0, 100.0  # MB


@dataclass(frozen=True, slots=True)
class _Held:
    """What each process held under the same requests.

    Args:
        middle: its memory, MB, the median.
        peak: its memory, MB, at most.
        descriptors: that it had open at once, at most.
    """

    middle: Mapping[str, float]
    peak: Mapping[str, float]
    descriptors: Mapping[str, float]


def main() -> int:
    """Load, watch, print and record."""
    evidence = Evidence("footprint", "Triton 24.10, Python backend; 2 workers")
    scale.tell(evidence)
    open_files.make_room(CONNECTIONS)
    with tempfile.TemporaryDirectory(prefix="lupine-footprint-") as scratch:
        folder = models.build(Path(scratch), MODELS)
        with _triton(folder) as running:
            asyncio.run(_soak(evidence, running))
        for wire in ("HTTP", "gRPC"):
            with _triton(folder) as running:
                asyncio.run(_connections(evidence, running, wire))
    return evidence.finish()


def _triton(folder: Path) -> AbstractContextManager[Running]:
    return gateway("--repository", str(folder), "--workers", "2", "--engine", "triton")


async def _soak(evidence: Evidence, running: Running) -> None:
    processes = report.processes(running)
    await _idle(evidence, processes)
    async with Mix(running, seed=1) as mix:
        capacity = await mix.closed(CALLERS, scale.seconds(CAPACITY_SECONDS, 3.0))
    report.judge(evidence, mix, "closed loop")
    settled = await _descriptors(processes)
    await _load(evidence, running, processes, capacity * LOAD)
    await _back(evidence, "after the soak", processes, settled)


async def _connections(evidence: Evidence, running: Running, wire: str) -> None:
    """Few connections, then many, under the same requests."""

    def held(count: int) -> AbstractAsyncContextManager[paced.Paced]:
        if wire == "gRPC":
            return paced.over_grpc(running, count)
        return paced.over_http(running, count, binary=True)

    processes = report.processes(running)
    few = await _hold(evidence, processes, wire, held(FEW))
    settled = await _descriptors(processes)
    many = await _hold(evidence, processes, wire, held(CONNECTIONS))
    _added(evidence, wire, few, many)
    await _back(evidence, f"after {CONNECTIONS:,} over {wire}", processes, settled)


async def _idle(evidence: Evidence, processes: Mapping[str, psutil.Process]) -> None:
    await asyncio.sleep(scale.seconds(IDLE_SECONDS, 3.0))
    found = {name: process.memory_info().rss / _MB for name, process in processes.items()}
    for name, held in found.items():
        is_worker = name.startswith("worker")
        evidence.add(
            f"{name}: memory when idle",
            f"{held:.0f} MB",
            f"at most {_MAX_IDLE:.0f} MB" if is_worker else "",
            holds=held <= _MAX_IDLE if is_worker else None,
        )
    evidence.raw["idle_mb"] = {name: round(held, 2) for name, held in found.items()}


async def _load(
    evidence: Evidence, running: Running, processes: Mapping[str, psutil.Process], rate: float
) -> None:
    warm, seconds = scale.seconds(WARM_SECONDS, 3.0), scale.seconds(SOAK_SECONDS, 15.0)
    begun = time.monotonic()
    async with (
        watching(processes, min(_SAMPLE_SECONDS, seconds / 15)) as watched,
        Mix(running, seed=2) as mix,
    ):
        lag = await mix.open(rate, warm + seconds)
    asked = sum(form.tally.fates.total() for form in mix.forms.values())
    evidence.add(
        f"soak at {LOAD:.0%} of the capacity for {seconds:.0f} s, after {warm:.0f} s",
        f"{asked} requests, {rate:.0f} a second; {', '.join(MODELS)}; 1 to {MAX_ROWS} rows",
    )
    report.judge(evidence, mix, "soak")
    report.forms(evidence, mix, lag)
    report.growths(evidence, watched, begun + warm)
    evidence.raw["soak"] = {"rate": rate, "seconds": seconds}


async def _hold(
    evidence: Evidence,
    processes: Mapping[str, psutil.Process],
    wire: str,
    held: AbstractAsyncContextManager[paced.Paced],
) -> _Held:
    """Keep the connections open and in use."""
    requests, turns = models.Requests(seed=3), itertools.cycle(MODELS)

    def make() -> Request:
        return requests.make(next(turns))

    seconds = scale.seconds(HELD_SECONDS, 5.0)
    async with held as connections:
        await connections.open(make)
        async with watching(processes, min(1.0, seconds / 15)) as watched:
            await connections.run(make, RATE, seconds)
    connections.judge(evidence, f"{wire}, {RATE:.0f} requests/s")
    return _Held(
        middle={name: float(np.median(_rss(series))) for name, series in watched.items()},
        peak={name: float(np.max(_rss(series))) for name, series in watched.items()},
        descriptors={name: max(series.descriptors) for name, series in watched.items()},
    )


def _rss(series: Series) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(series.rss) * (_MIB / _MB)


def _added(evidence: Evidence, wire: str, few: _Held, many: _Held) -> None:
    """The peak with many connections, over the median with few of them, under the same load."""
    for name, before in few.middle.items():
        if name.startswith("stub"):
            continue  # nobody's connection gets there
        is_worker = name.startswith("worker")
        added = many.peak[name] - before
        evidence.add(
            f"{wire}: {name}, added by {CONNECTIONS:,} connections, {RATE:.0f} requests/s",
            f"{added:+.1f} MB, from {before:.0f} with {FEW};"
            f" {many.descriptors[name]:.0f} open descriptors",
            f"at most {_MAX_ADDED:.0f} MB" if is_worker else "",
            holds=added <= _MAX_ADDED if is_worker else None,
        )
    held = sum(n for name, n in many.descriptors.items() if name.startswith("worker"))
    if held < CONNECTIONS:
        evidence.fault(f"{wire}: the workers had {held:.0f} descriptors open, not {CONNECTIONS:,}")
    evidence.raw[f"{wire}_mb"] = {
        f"{FEW}, median": few.middle,
        f"{CONNECTIONS}, median": many.middle,
        f"{CONNECTIONS}, peak": many.peak,
    }


async def _descriptors(processes: Mapping[str, psutil.Process]) -> Mapping[str, int]:
    """How many each has open, once the connections that were closed are taken down."""
    await asyncio.sleep(1.0)
    return {name: process.num_fds() for name, process in processes.items()}


async def _back(
    evidence: Evidence,
    when: str,
    processes: Mapping[str, psutil.Process],
    before: Mapping[str, int],
) -> None:
    """Whether all descriptors of the connections have been given back."""
    end = time.monotonic() + _CLOSED_SECONDS
    after = await _descriptors(processes)
    while time.monotonic() < end and not _alike(before, after):
        after = await _descriptors(processes)
    for name, count in after.items():
        if name.startswith("worker"):
            evidence.add(
                f"{name}: open descriptors {when}",
                f"{count}, {before[name]} before",
                f"±{report.MAX_DESCRIPTORS:.0f}",
                holds=abs(count - before[name]) <= report.MAX_DESCRIPTORS,
            )
    evidence.raw[f"descriptors {when}"] = {"before": before, "after": after}


def _alike(before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    return all(abs(after[name] - count) <= report.MAX_DESCRIPTORS for name, count in before.items())
