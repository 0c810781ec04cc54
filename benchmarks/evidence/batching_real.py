"""Who batches, for real: the gateway, Triton behind it, or nobody (`lupine.batching`).

The three take turns within one run, each with two workers and a Triton of its own, so that a
machine whose speed drifts favours nobody.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import mlp, scale, turns, wrk
from benchmarks.harness.gateway import gateway
from benchmarks.harness.record import Evidence, spread
from benchmarks.harness.turns import Loads

CONNECTIONS = (1, 16, 64, 256)
POLICIES = ("gateway", "triton", "off")
ROUNDS = 3
SECONDS = 3
_PATH = "/v2/models/mlp/infer"


def main() -> int:
    """Measure, print and record."""
    evidence = Evidence("batching-real", "Triton 24.10, Python backend; not NVIDIA's native one")
    scale.tell(evidence)
    with tempfile.TemporaryDirectory(prefix="lupine-batching-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        request = wrk.script(folder, mlp.INPUT, [1, 64], mlp.OUTPUT)
        urls = {}
        for policy in POLICIES:
            models = mlp.repository(
                folder / policy, triton_batches=policy == "triton", policy=policy
            )
            running = gateway("--repository", str(models), "--workers", "2")
            urls[policy] = stack.enter_context(running).url + _PATH
        loads = turns.measure(
            urls, request, CONNECTIONS, rounds=scale.times(ROUNDS), seconds=SECONDS
        )
    _report(evidence, loads)
    return evidence.finish()


def _report(evidence: Evidence, loads: Loads) -> None:
    for (policy, connections), runs in sorted(loads.items(), key=lambda item: item[0][1]):
        ours = loads["gateway", connections]
        ratios = [run.rate / one.rate for run, one in zip(runs, ours, strict=True)]
        evidence.add(
            f"{policy}, {connections} connections",
            f"{spread([run.rate for run in runs], 0)} requests/s, "
            f"p50 {spread([run.p50 for run in runs], 2)} ms, "
            f"p99 {spread([run.p99 for run in runs], 2)} ms, "
            f"rate ÷ gateway {spread(ratios, 2)}",
        )
        turns.keep(evidence, f"{policy}, {connections}", runs)
