"""One-row requests through the gateway beside the same Triton called directly, by wrk.

The two take turns within one run, so that a machine whose speed drifts favours neither. Direct
Triton batches dynamically; behind the gateway the gateway does.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.progress import Progress

from benchmarks.harness import mlp, wrk
from benchmarks.harness.gateway import LUPINE, ROOT, free_port, gateway, ready
from benchmarks.harness.record import Evidence, spread

CONNECTIONS = (1, 16, 64, 256, 2000)
ROUNDS = 5
SECONDS = 4
_PATH = "/v2/models/mlp/infer"


def main() -> int:
    """Measure, print and record."""
    evidence = Evidence("first-table", "Triton 24.10, Python backend; not NVIDIA's native one")
    with tempfile.TemporaryDirectory(prefix="lupine-table-") as scratch:
        folder = Path(scratch)
        request = wrk.script(folder, mlp.INPUT, [1, 64], mlp.OUTPUT)
        direct = mlp.repository(folder / "direct", triton_batches=True)
        behind = mlp.repository(folder / "behind", triton_batches=False)
        with (
            triton(direct) as triton_port,
            gateway("--repository", str(behind), "--workers", "1") as one,
            gateway("--repository", str(behind), "--workers", "2") as two,
        ):
            targets = {
                "direct Triton": f"http://127.0.0.1:{triton_port}{_PATH}",
                "Lupine, 1 worker": f"{one.url}{_PATH}",
                "Lupine, 2 workers": f"{two.url}{_PATH}",
            }
            loads = _measure(targets, request)
    _report(evidence, loads)
    return evidence.finish()


def _measure(targets: dict[str, str], request: Path) -> dict[tuple[str, int], list[wrk.Load]]:
    loads: dict[tuple[str, int], list[wrk.Load]] = {}
    for url in targets.values():
        wrk.run(url, request, connections=64, seconds=3)  # warm
    with Progress() as progress:
        task = progress.add_task("wrk", total=ROUNDS * len(CONNECTIONS) * len(targets))
        for _ in range(ROUNDS):
            for connections in CONNECTIONS:
                for name, url in targets.items():
                    load = wrk.run(url, request, connections=connections, seconds=SECONDS)
                    loads.setdefault((name, connections), []).append(load)
                    progress.advance(task)
    return loads


def _report(evidence: Evidence, loads: dict[tuple[str, int], list[wrk.Load]]) -> None:
    for (name, connections), runs in sorted(loads.items(), key=lambda item: item[0][1]):
        direct = loads["direct Triton", connections]
        ratios = [run.rate / base.rate for run, base in zip(runs, direct, strict=True)]
        evidence.add(
            f"{name}, {connections} connections",
            f"{spread([run.rate for run in runs], 0)} requests/s, "
            f"p50 {spread([run.p50 for run in runs], 2)} ms, "
            f"p99 {spread([run.p99 for run in runs], 2)} ms, "
            f"rate ÷ direct {spread(ratios, 2)}",
        )
        evidence.raw[f"{name}, {connections}"] = [
            {"rate": run.rate, "p50_ms": run.p50, "p99_ms": run.p99} for run in runs
        ]
        if failed := sum(run.failed for run in runs):
            evidence.fault(f"{name}, {connections} connections: {failed} requests failed")


@contextmanager
def triton(repository: Path, model: str = "mlp") -> Iterator[int]:
    """The managed Triton alone, as `lupine triton` runs it, with `model` ready: its HTTP port."""
    ports = [free_port() for _ in range(3)]
    flags = [
        f"--{kind}-port={port}"
        for kind, port in zip(("http", "grpc", "metrics"), ports, strict=True)
    ]
    process = subprocess.Popen(
        [LUPINE, "triton", "--repository", str(repository), *flags],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 60
        while not (ready(ports[0]) and _model_ready(ports[0], model)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"tritonserver did not get ready (exit {process.poll()})")
            time.sleep(0.1)
        yield ports[0]
    finally:
        process.terminate()
        process.wait(60)


def _model_ready(port: int, model: str) -> bool:
    answer = httpx.get(f"http://127.0.0.1:{port}/v2/models/{model}/ready", timeout=5.0)
    return answer.status_code == httpx.codes.OK
