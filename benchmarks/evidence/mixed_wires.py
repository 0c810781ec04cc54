"""Five minutes at half capacity over both wires in all forms: all answers right, nothing grows."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from benchmarks.harness import scale
from benchmarks.harness.gateway import Running, gateway
from benchmarks.harness.record import Evidence
from benchmarks.mixed import report
from benchmarks.mixed.mix import MAX_ROWS, MODELS, Mix
from benchmarks.mixed.resources import watching
from benchmarks.wires import models

SECONDS = 300.0
CAPACITY_SECONDS = 15.0
CALLERS = 64  # of the closed loop that finds the capacity
LOAD = 0.5  # of the capacity
SAMPLE_SECONDS = 5.0
WARM_SECONDS = 60.0  # growth counts after these


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
    report.judge(evidence, mix, "closed loop")
    evidence.add(f"capacity of the mix, {CALLERS} callers", f"{capacity:.0f} requests/s")
    rate, seconds = capacity * LOAD, scale.seconds(SECONDS, 15.0)
    begun = time.monotonic()
    every = min(SAMPLE_SECONDS, seconds / 15)
    async with (
        watching(report.processes(running), every) as watched,
        Mix(running, seed=2) as mix,
    ):
        lag = await mix.open(rate, seconds)
    asked = sum(form.tally.fates.total() for form in mix.forms.values())
    evidence.add(
        f"open loop at {LOAD:.0%} of it for {seconds:.0f} s",
        f"{asked} requests, {rate:.0f} a second; {', '.join(MODELS)}; 1 to {MAX_ROWS} rows",
    )
    report.judge(evidence, mix, "open loop")
    report.forms(evidence, mix, lag)
    report.growths(evidence, watched, begun + min(WARM_SECONDS, seconds / 5))
    evidence.raw |= {"capacity": capacity, "rate": rate, "seconds": seconds}
