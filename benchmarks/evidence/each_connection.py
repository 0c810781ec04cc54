"""Whether each of many connections is answered, and when: the gateway beside the same Triton alone.

Each connection asks so often, one request after the other, by h2load; both take turns. A request
without an answer counts with the time that it was waited for.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from rich.progress import Progress

from benchmarks.harness import fixed_work, mlp, open_files, scale, wrk
from benchmarks.harness.fixed_work import Work
from benchmarks.harness.gateway import gateway
from benchmarks.harness.record import Evidence, spread
from benchmarks.harness.triton import triton

CONNECTIONS = (256, 2000)
EACH = 30
ROUNDS = 5
PATIENCE = 15.0
_PATH = "/v2/models/mlp/infer"
_P99_BOUND = 1.3  # times that of direct Triton, at most


def main() -> int:
    """Measure, print and record."""
    evidence = Evidence("each-connection", "Triton 24.10, Python backend; 2 workers")
    scale.tell(evidence)
    open_files.make_room(max(CONNECTIONS))
    with tempfile.TemporaryDirectory(prefix="lupine-each-") as scratch:
        folder = Path(scratch)
        direct = mlp.repository(folder / "direct", triton_batches=True)
        behind = mlp.repository(folder / "behind", triton_batches=False)
        with (
            triton(direct) as alone,
            gateway("--repository", str(behind), "--workers", "2") as ours,
        ):
            found = _by_turns({"direct": alone.url, "Lupine": ours.url}, folder)
    for connections in CONNECTIONS:
        _judge(evidence, connections, found["direct", connections], found["Lupine", connections])
    return evidence.finish()


def _by_turns(urls: dict[str, str], folder: Path) -> dict[tuple[str, int], list[Work]]:
    header, size = wrk.message(mlp.INPUT, [1, 64], mlp.OUTPUT)
    rounds = scale.times(ROUNDS)
    found: dict[tuple[str, int], list[Work]] = {}
    with Progress() as progress:
        task = progress.add_task("h2load", total=rounds * len(CONNECTIONS) * len(urls))
        for _ in range(rounds):
            for connections in CONNECTIONS:
                for name, url in urls.items():
                    work = fixed_work.run(
                        url + _PATH,
                        header,
                        size,
                        connections=connections,
                        each=EACH,
                        patience=PATIENCE,
                        folder=folder,
                    )
                    found.setdefault((name, connections), []).append(work)
                    progress.advance(task)
    return found


def _judge(evidence: Evidence, connections: int, direct: list[Work], ours: list[Work]) -> None:
    every = f"{connections:,} connections, {EACH} requests each"
    for name, works in (("direct Triton", direct), ("Lupine", ours)):
        evidence.add(
            f"{every}: {name}",
            f"{sum(w.forgotten for w in works)} of {sum(w.asked for w in works):,} requests "
            f"without an answer in {PATIENCE:.0f} s, "
            f"p50 {spread([w.quantile(0.5) for w in works], 1)} ms, "
            f"p99 {spread([w.quantile(0.99) for w in works], 1)} ms, "
            f"slowest {spread([max(w.millis) for w in works], 0)} ms",
        )
        evidence.raw[f"{connections}, {name}"] = [
            {
                "asked": w.asked,
                "answered": w.answered,
                "refused": w.refused,
                "p50_ms": w.quantile(0.5),
                "p99_ms": w.quantile(0.99),
                "max_ms": max(w.millis),
            }
            for w in works
        ]
    lost = sum(w.asked - w.answered for w in ours)
    evidence.add(f"{every}: not answered by Lupine", str(lost), "0", holds=not lost)
    pairs = zip(ours, direct, strict=True)
    ratios = [mine.quantile(0.99) / base.quantile(0.99) for mine, base in pairs]
    evidence.add(
        f"{every}: p99 ÷ direct",
        spread(ratios, 3),
        f"≤ {_P99_BOUND}",
        holds=float(np.median(ratios)) <= _P99_BOUND,
    )
