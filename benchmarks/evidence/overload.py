"""A compute-bound model under more than it can take: open loop, the gateway beside bare Triton.

`magika` takes about 10 ms of a core for a file and gains nothing in company. Capacity is what the
gateway answers when far more is asked than that; then both are offered shares of it, by turns.
"""

from __future__ import annotations

import numpy as np
from rich.progress import Progress

from benchmarks.harness import open_loop
from benchmarks.harness.gateway import ROOT, gateway
from benchmarks.harness.open_loop import Load
from benchmarks.harness.record import Evidence, spread
from benchmarks.harness.triton import triton

ROUNDS = 3
SECONDS = {0.6: 12, 1.3: 40, 2.0: 12}
"""Of load, by the share of the capacity: a little too much takes long to pile up."""
_FLOOD, _FLOOD_SECONDS = 300.0, 20  # requests/s, to find the capacity
_SLO = 0.5  # seconds: the model's own `lupine.slo_p99_ms`
_SHED = "HTTP 429"
_SLA = """
duration_seconds = {seconds}
warmup_seconds = 3
repetitions = 1
timeout_seconds = 30
[[target]]
name = "magika"
model = "magika"
rate = {rate}
connections = {connections}
payloads = "{payloads}"
tolerance = 0.001
limits = {{ p99_ms = 500 }}
"""


def main() -> int:
    """Measure, print and record."""
    evidence = Evidence("overload", "Triton 24.10, Python backend; not NVIDIA's native one")
    loads: dict[tuple[str, float], list[Load]] = {}
    with (
        triton(ROOT / "triton_repo", model="magika") as alone,
        gateway("--repository", str(ROOT / "triton_repo")) as running,
        Progress() as progress,
    ):
        targets = {"bare Triton": alone.url, "Lupine": running.url}
        task = progress.add_task("load", total=1 + ROUNDS * len(SECONDS) * len(targets))
        capacity = _capacity(running.url)
        progress.advance(task)
        for _ in range(ROUNDS):
            for share, seconds in SECONDS.items():
                for name, url in targets.items():
                    load = _ask(url, share * capacity, seconds)
                    loads.setdefault((name, share), []).append(load)
                    progress.advance(task)
    evidence.add("capacity: right answers when far more is asked", f"{capacity:.0f} requests/s")
    _report(evidence, loads, capacity)
    return evidence.finish()


def _ask(url: str, rate: float, seconds: int) -> Load:
    # Connections enough that none is waited for: what queues, queues in the server.
    sla = _SLA.format(
        seconds=seconds,
        rate=round(rate, 1),
        connections=int(min(4000, max(256, 12 * rate))),
        payloads=ROOT / "models" / "golden" / "magika.json",
    )
    return open_loop.run(sla, url)


def _capacity(url: str) -> float:
    return len(_ask(url, _FLOOD, _FLOOD_SECONDS).right) / _FLOOD_SECONDS


def _report(
    evidence: Evidence, loads: dict[tuple[str, float], list[Load]], capacity: float
) -> None:
    for (name, share), runs in sorted(loads.items(), key=lambda item: item[0][1]):
        goodput = [load.goodput(_SLO) for load in runs]
        p99 = [load.quantile(0.99) for load in runs]
        late = max(float(np.quantile(load.late, 0.99)) for load in runs)
        evidence.add(
            f"{name} at {share:.1f} x capacity",
            f"goodput {spread(goodput)}/s = {np.median(goodput) / capacity:.2f} of capacity, "
            f"p99 {spread(p99, 2)} s, generator late by {late * 1000:.0f} ms (p99)",
        )
        evidence.raw[f"{name}, {share}"] = [
            {"goodput": load.goodput(_SLO), "p99": load.quantile(0.99), "fates": load.counts()}
            for load in runs
        ]
        for load in runs:
            if wrong := load.counts().get("wrong answer", 0):
                evidence.fault(f"{name} at {share}: {wrong} wrong answers")
    for share, times in ((1.3, 15), (2.0, 30)):
        ours, bare = loads["Lupine", share], loads["bare Triton", share]
        ratios = [
            our.goodput(_SLO) / max(other.goodput(_SLO), 1 / SECONDS[share])
            for our, other in zip(ours, bare, strict=True)
        ]
        evidence.add(
            f"goodput ÷ bare Triton's at {share:.1f} x",
            spread(ratios),
            f"≥ {times}",
            holds=float(np.median(ratios)) >= times,
        )
    over = loads["Lupine", 2.0]
    share_kept = float(np.median([load.goodput(_SLO) for load in over])) / capacity
    evidence.add("goodput ÷ capacity at 2 x", f"{share_kept:.2f}", "≥ 0.9", holds=share_kept >= 0.9)
    tail = float(np.median([load.quantile(0.99) for load in over])) / _SLO
    evidence.add("p99 of the accepted ÷ SLO at 2 x", f"{tail:.2f}", "≤ 1.0", holds=tail <= 1)
    refuse = float(np.median([load.quantile(0.99, _SHED) for load in over])) * 1000
    evidence.add("p99 time to refuse at 2 x", f"{refuse:.1f} ms", "≤ 20 ms", holds=refuse <= 20)
