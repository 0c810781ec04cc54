"""SIGTERM under load on both wires: nothing that was accepted is lost; and a rolling restart.

What "lost" means, and what excuses a request, is in `benchmarks.wires.exchange.Fate`. Every
distinct text that a client was told is in the record with its count.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
from rich.progress import track

from benchmarks.drain.load import WIRES, Load
from benchmarks.drain.rolling import SETTLE_SECONDS, THINK_SECONDS, Clients, Rollout, roll
from benchmarks.drain.stop import Stop, stop
from benchmarks.harness import scale
from benchmarks.harness.gateway import gateway
from benchmarks.harness.record import Evidence, spread
from benchmarks.wires import goaway, models
from benchmarks.wires.exchange import Fate, Tally

RUNS = 10
SLOW_RUNS = 3
CALLERS = 64  # on each wire
SLOW_MS = 2000  # longer than a gateway waits before it stops to listen
ROUNDS = 3
CLIENTS = 32  # on each wire
_STEADY_SECONDS = 15.0


def main() -> int:
    """Stop, roll, print and record."""
    evidence = Evidence("drain", "Triton 24.10, Python backend; 2 workers")
    scale.tell(evidence)
    if misread := asyncio.run(goaway.misread()):
        raise RuntimeError(f"this grpcio tells fates in other words: {misread}")
    with tempfile.TemporaryDirectory(prefix="lupine-drain-") as scratch:
        folder = models.build(Path(scratch), ["mlp", "rows"])
        repository = ("--repository", str(folder), "--workers", "2")
        _stops(evidence, "triton", "mlp", scale.times(RUNS), *repository)
        _stops(evidence, "echo", "rows", scale.times(SLOW_RUNS), *repository)
        asyncio.run(_rolling(evidence, "--engine", "triton", *repository))
    return evidence.finish()


def _stops(evidence: Evidence, engine: str, model: str, runs: int, *flags: str) -> None:
    slow = engine == "echo"
    environment = {"LUPINE_ENGINE__ECHO_LATENCY_MS": str(SLOW_MS)} if slow else {}
    stops = []
    for _ in track(range(runs), f"stops, {engine}"):
        with gateway("--engine", engine, *flags, environment=environment) as running:
            load = Load(running, model, CALLERS)
            stops.append(asyncio.run(stop(running, load, after=3.0 if slow else 2.0)))
    name = f"echo of {SLOW_MS} ms" if slow else "mlp by Triton"
    evidence.raw[name] = [one.raw() for one in stops]
    for wire in WIRES:
        _report_wire(evidence, f"{name}, {wire}", wire, stops)
    _report_ends(evidence, name, stops)


def _report_wire(evidence: Evidence, name: str, wire: str, stops: list[Stop]) -> None:
    tallies = [one.load.tallies[wire] for one in stops]
    accepted, fates = sum(tally.accepted for tally in tallies), _fates(tallies)
    evidence.add(f"{name}: {len(stops)} stops, requests accepted", accepted)
    evidence.add(
        f"{name}: lost",
        f"{fates[Fate.LOST]} ({' '.join(str(tally.fates[Fate.LOST]) for tally in tallies)})",
        "0",
        holds=not fates[Fate.LOST],
    )
    flying = sum((Counter(one.in_flight(wire)) for one in stops), Counter())
    evidence.add(
        f"{name}: in flight at the signal",
        _counts(flying),
        "all answered",
        holds=flying.keys() <= {Fate.ANSWERED},
    )
    later = sum((Counter(one.sent_after(wire)) for one in stops), Counter())
    evidence.add(f"{name}: sent after the signal", _counts(later))
    for run, tally in enumerate(tallies, 1):
        for what in tally.wrong:
            evidence.fault(f"{name}, run {run}: {what}")
        for fate in (Fate.LOST, Fate.FAILED):
            if tally.fates[fate]:
                texts = [f"{n} × {t}" for t, n in tally.texts.items() if f", {fate}:" in t]  # noqa: RUF001 - times
                evidence.fault(f"{name}, run {run}: {'; '.join(texts)}")
    _report_readiness(evidence, name, wire, stops)


def _report_readiness(evidence: Evidence, name: str, wire: str, stops: list[Stop]) -> None:
    said = [one.not_ready(wire) for one in stops]
    evidence.add(
        f"{name}: runs in which readiness was seen false",
        f"{len(said) - said.count(None)} of {len(stops)}",
        "all",
        holds=None not in said,
    )
    first = [at for one in stops if (at := one.first_non_ready(wire)) is not None]
    evidence.add(f"{name}: first probe that is not ready", f"{spread(first, 2)} s" if first else "")
    faults = sum((Counter(one.probes[wire].faults()) for one in stops), Counter())
    refused = sum(one.ends_refused(wire) for one in stops)
    evidence.add(
        f"{name}: afterwards",
        f"refused in {refused} of {len(stops)}; {_counts(faults) if faults else 'else nothing'}",
        "refused, never reset, never hanging",
        holds=refused == len(stops) and not faults,
    )


def _report_ends(evidence: Evidence, name: str, stops: list[Stop]) -> None:
    statuses = Counter(str(one.exit_status) for one in stops)
    evidence.add(f"{name}: exit status", _counts(statuses), "0", holds=set(statuses) == {"0"})
    evidence.add(f"{name}: signal to exit", f"{spread([s.exit_seconds for s in stops], 2)} s")
    left = [what for one in stops for what in one.left]
    evidence.add(f"{name}: processes left at the exit", len(left), "0", holds=not left)
    for what in left:
        evidence.fault(f"{name}: this process is left at the exit: {what}")
    folders = sum(one.run_folder_left for one in stops)
    evidence.add(f"{name}: run folders left", folders, "0", holds=not folders)
    drained = [worker for one in stops for worker in one.drained()]
    finished, cut = (sum(worker[i] for worker in drained) for i in (1, 2))
    answered = sum(one.answered() for one in stops)
    # A worker counts from the moment at which it learned of the signal, so it counts fewer.
    evidence.add(
        f"{name}: the workers' own account",
        f"{len(drained)} drained, {finished} requests finished, {cut} cut; "
        f"callers count {answered} answers after the signal",
        "0 cut, none that no caller got",
        holds=not cut and len(drained) == 2 * len(stops) and finished <= answered,
    )


async def _rolling(evidence: Evidence, *flags: str) -> None:
    rollout = Rollout(*flags)
    clients = Clients(rollout.ports, "mlp", CLIENTS)
    steady = scale.seconds(_STEADY_SECONDS, 3.0)
    try:
        for index in range(2):
            await rollout.start(index)
        await roll(clients, rollout, rounds=scale.times(ROUNDS), steady=steady)
    finally:
        for index in range(2):
            with suppress(KeyError):
                await rollout.stop(index)
    _report_rolling(evidence, rollout, clients)


def _report_rolling(evidence: Evidence, rollout: Rollout, clients: Clients) -> None:
    name = f"rolling restart, {len(rollout.restarts)} restarts"
    fates = _fates(list(clients.tallies.values()))
    failures = fates.total() - fates[Fate.ANSWERED]
    evidence.add(f"{name}: requests", fates.total())
    evidence.add(f"{name}: failures after one retry", failures, "0", holds=not failures)
    evidence.add(f"{name}: retries", _counts(clients.retries) if clients.retries else "none")
    for wire, tally in clients.tallies.items():
        during: list[float] = []
        steady: list[float] = []
        for one in clients.served:
            busy = any(r.begun <= one.ended and one.begun <= r.ready for r in rollout.restarts)
            if one.wire == wire:
                (during if busy else steady).append((one.ended - one.begun) * 1000)
        evidence.add(f"{name}, {wire}: during a restart", _percentiles(during))
        evidence.add(f"{name}, {wire}: steady", _percentiles(steady))
        for what in tally.wrong:
            evidence.fault(f"rolling restart: {what}")
        for text, count in tally.texts.items():
            evidence.fault(f"rolling restart: {count} × {text}")  # noqa: RUF001 - times
    statuses = Counter(str(restart.exit_status) for restart in rollout.restarts)
    evidence.add(f"{name}: exit status", _counts(statuses), "0", holds=set(statuses) == {"0"})
    stops = [restart.stopped - restart.begun for restart in rollout.restarts]
    starts = [restart.ready - restart.stopped for restart in rollout.restarts]
    evidence.add(f"{name}: to stop, to start", f"{spread(stops)} s, {spread(starts)} s")
    evidence.raw["rolling restart"] = {
        "fates": {wire: dict(tally.fates) for wire, tally in clients.tallies.items()},
        "retries": dict(clients.retries),
        "retried_texts": dict(clients.texts),
        "failed_texts": {wire: dict(tally.texts) for wire, tally in clients.tallies.items()},
        "settle_seconds": SETTLE_SECONDS,
        "think_seconds": THINK_SECONDS,
        "restarts": [
            {"gateway": r.name, "stop": r.stopped - r.begun, "start": r.ready - r.stopped}
            for r in rollout.restarts
        ],
    }


def _fates(tallies: list[Tally]) -> Counter[str]:
    return sum((tally.fates for tally in tallies), Counter())


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "none"


def _percentiles(millis: list[float]) -> str:
    if not millis:
        return "nothing served"
    p50, p99 = np.percentile(millis, [50, 99])
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms of {len(millis)}"
