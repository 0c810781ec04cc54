"""SIGKILL of each process under 32 callers: who notices, what callers get, what is left behind."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.harness import mlp
from benchmarks.harness.callers import Callers, Outcome
from benchmarks.harness.gateway import Running, gateway
from benchmarks.harness.record import Evidence

CALLERS = 32
_WATCH_SECONDS = 25.0
_GONE_SECONDS = 45.0

Victim = Callable[[Running], psutil.Process]


def main() -> int:
    """Kill each in turn, print and record."""
    evidence = Evidence("triton-kill", "Triton 24.10, Python backend; 2 workers, 32 callers")
    with tempfile.TemporaryDirectory(prefix="lupine-kill-") as scratch:
        repository = mlp.repository(Path(scratch) / "repo", triton_batches=False)
        flags = ("--repository", str(repository), "--workers", "2", "--engine", "triton")
        for name, victim, target in (
            ("tritonserver", _tritonserver, 15.0),
            ("guardian", _guardian, 20.0),
            ("worker", _worker, 1.0),
        ):
            with gateway(*flags) as running:
                outcome, killed = asyncio.run(_under_load(running, victim))
                family = running.family()
            _judge(evidence, name, outcome, killed, target)
            _check_gone(evidence, f"after the stop that followed ({name})", family)
        with gateway(*flags) as running:
            family = running.family()
            outcome, _ = asyncio.run(_under_load(running, lambda r: r.supervisor, watch=3.0))
            begun = time.monotonic()
            left = _check_gone(evidence, "after SIGKILL of the supervisor", family)
            evidence.add("SIGKILL of the supervisor: callers got", dict(outcome.counts))
            evidence.add(
                "SIGKILL of the supervisor: all else ended after",
                f"{time.monotonic() - begun + 3.0:.1f} s",
                "nothing left",
                holds=not left,
            )
    return evidence.finish()


def _tritonserver(running: Running) -> psutil.Process:
    found = running.tritonserver()
    if found is None:
        raise RuntimeError("there is no tritonserver to kill")
    return found


def _guardian(running: Running) -> psutil.Process:
    found = running.guardian()
    if found is None:
        raise RuntimeError("there is no guardian to kill")
    return found


def _worker(running: Running) -> psutil.Process:
    return running.workers()[0]


async def _under_load(
    running: Running, victim: Victim, watch: float = _WATCH_SECONDS
) -> tuple[Outcome, float]:
    callers = Callers(running.url, CALLERS)
    await callers.learn()
    load = asyncio.create_task(callers.run())
    await asyncio.sleep(2.0)
    victim(running).kill()
    killed = time.monotonic()
    await asyncio.sleep(watch)
    callers.stop()
    await load
    return callers.outcome, killed


def _judge(evidence: Evidence, name: str, outcome: Outcome, killed: float, target: float) -> None:
    gap = outcome.gap(killed)
    evidence.add(
        f"SIGKILL of the {name}: seconds without a right answer",
        f"{gap:.2f}",
        f"≤ {target:g}",
        holds=gap <= target,
    )
    evidence.add(f"SIGKILL of the {name}: callers got", dict(outcome.counts))
    evidence.add(
        f"SIGKILL of the {name}: slowest answer",
        f"{outcome.slowest:.2f} s",
        "nothing hangs",
        holds=not outcome.counts["hung"],
    )
    evidence.raw[name] = {"counts": dict(outcome.counts), "gap": gap, "slowest": outcome.slowest}
    for what in outcome.wrong + outcome.unhelpful:
        evidence.fault(f"{name}: {what}")


def _check_gone(evidence: Evidence, when: str, family: list[psutil.Process]) -> list[str]:
    _, alive = psutil.wait_procs(family, timeout=_GONE_SECONDS)
    left = [f"{p.pid} {' '.join(p.cmdline())[:100]}" for p in alive if p.is_running()]
    for process in left:
        evidence.fault(f"{when} this process is left: {process}")
    return left
