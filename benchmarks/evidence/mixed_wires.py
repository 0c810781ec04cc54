"""Five minutes at half capacity over both wires in all forms: all answers right, nothing grows."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from benchmarks.harness import scale
from benchmarks.harness.gateway import Running, gateway
from benchmarks.harness.record import Evidence
from benchmarks.mixed.mix import MAX_ROWS, MODELS, Lag, Mix
from benchmarks.mixed.resources import Series, growth, watch
from benchmarks.wires import models
from benchmarks.wires.exchange import Fate

SECONDS = 300.0
CAPACITY_SECONDS = 15.0
CALLERS = 64  # of the closed loop that finds the capacity
LOAD = 0.5  # of the capacity
SAMPLE_SECONDS = 5.0
WARM_SECONDS = 60.0  # growth counts after these
_MAX_RSS_GROWTH = 0.02  # of the median
_MAX_DESCRIPTORS = 3.0


def main() -> int:
    """Load, watch, print and record."""
    evidence = Evidence("mixed-wires", "Triton 24.10, Python backend; 2 workers")
    scale.tell(evidence)
    with tempfile.TemporaryDirectory(prefix="lupine-mixed-") as scratch:
        folder = models.build(Path(scratch), MODELS)
        flags = ("--repository", str(folder), "--workers", "2", "--engine", "triton")
        with gateway(*flags) as running:
            asyncio.run(_measure(evidence, running))
    return evidence.finish()


async def _measure(evidence: Evidence, running: Running) -> None:
    async with Mix(running, seed=1) as mix:
        seconds = scale.seconds(CAPACITY_SECONDS, 3.0)
        capacity = await mix.closed(CALLERS, seconds)
    _judge(evidence, mix, "closed loop")
    evidence.add(f"capacity of the mix, {CALLERS} callers", f"{capacity:.0f} requests/s")
    rate, seconds = capacity * LOAD, scale.seconds(SECONDS, 15.0)
    processes = {name: Series(process) for name, process in _processes(running).items()}
    begun = time.monotonic()
    watching = asyncio.create_task(watch(processes, min(SAMPLE_SECONDS, seconds / 15)))
    async with Mix(running, seed=2) as mix:
        lag = await mix.open(rate, seconds)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    asked = sum(form.tally.fates.total() for form in mix.forms.values())
    evidence.add(
        f"open loop at {LOAD:.0%} of it for {seconds:.0f} s",
        f"{asked} requests, {rate:.0f} a second; {', '.join(MODELS)}; 1 to {MAX_ROWS} rows",
    )
    _judge(evidence, mix, "open loop")
    _report_forms(evidence, mix, lag)
    _report_growth(evidence, processes, begun + min(WARM_SECONDS, seconds / 5))
    evidence.raw |= {"capacity": capacity, "rate": rate, "seconds": seconds}


def _processes(running: Running) -> dict[str, psutil.Process]:
    server, guardian = running.tritonserver(), running.guardian()
    if server is None or guardian is None:
        raise RuntimeError("there is no managed tritonserver to watch")
    found = {f"worker {i}": worker for i, worker in enumerate(running.workers(), 1)}
    found |= {"tritonserver": server, "guardian": guardian}
    stubs = server.children(recursive=True)  # each holds an instance of a model
    return found | {f"stub {i}": stub for i, stub in enumerate(stubs, 1)}


def _judge(evidence: Evidence, mix: Mix, phase: str) -> None:
    for name, form in mix.forms.items():
        for what in form.tally.wrong:
            evidence.fault(f"{phase}, {what}")
        for text, count in form.tally.texts.items():
            evidence.fault(f"{phase}: {count} × {text}")  # noqa: RUF001 - times
        if not form.tally.fates:
            evidence.fault(f"{phase}: nothing was asked by {name}")
    for what in mix.stray:
        evidence.fault(f"{phase}: an answer on a stream that nobody waited for: {what}")


def _report_forms(evidence: Evidence, mix: Mix, lag: Lag) -> None:
    wrong = sum(len(form.tally.wrong) for form in mix.forms.values())
    lost = sum(
        form.tally.fates.total() - form.tally.fates[Fate.ANSWERED] for form in mix.forms.values()
    )
    evidence.add("wrong or swapped answers", wrong, "0", holds=not wrong)
    evidence.add("lost or failed requests", lost, "0", holds=not lost)
    evidence.add(
        f"answered twice or unasked, on {mix.streams} streams",
        len(mix.stray),
        "0",
        holds=not mix.stray,
    )
    latencies = {}
    for name, form in mix.forms.items():
        p50, p99 = np.percentile(form.millis, [50, 99])
        evidence.add(name, f"p50 {p50:.1f} ms, p99 {p99:.1f} ms of {len(form.millis)}")
        latencies[name] = {"p50_ms": p50, "p99_ms": p99, "requests": len(form.millis)}
    p50, p99 = np.percentile(lag.millis, [50, 99])
    evidence.add("the generator itself was late by", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    evidence.raw["forms"] = latencies
    evidence.raw["generator_lag_ms"] = {"p50": p50, "p99": p99}


def _report_growth(evidence: Evidence, processes: dict[str, Series], since: float) -> None:
    for name, whole in processes.items():
        if whole.gone:
            evidence.fault(f"{name} ended")
        series = whole.since(since)
        middle = float(np.median(series.rss))
        grown = growth(series.times, series.rss)
        evidence.add(
            f"{name}: memory",
            f"{middle:.0f} MiB, growth {grown:+.1f} MiB ({grown / middle:+.1%})",
            f"at most {_MAX_RSS_GROWTH:.0%} after the warm-up",
            holds=grown <= _MAX_RSS_GROWTH * middle,
        )
        more = growth(series.times, series.descriptors)
        ends = series.descriptors[-1] - series.descriptors[0]
        evidence.add(
            f"{name}: open descriptors",
            f"{series.descriptors[0]:.0f} to {series.descriptors[-1]:.0f}, growth {more:+.1f}",
            f"±{_MAX_DESCRIPTORS:.0f}",
            holds=abs(more) <= _MAX_DESCRIPTORS and abs(ends) <= _MAX_DESCRIPTORS,
        )
        evidence.raw[name] = {
            "seconds": [round(at - whole.times[0], 1) for at in whole.times],
            "rss_mib": [round(value, 2) for value in whole.rss],
            "descriptors": whole.descriptors,
        }
