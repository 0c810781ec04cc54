"""One-row calls over gRPC through the gateway beside the same Triton called directly, by h2load.

128 calls are in flight over 8 channels. All take turns within one run; direct Triton batches
dynamically, behind the gateway the gateway does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
import psutil
from rich.progress import Progress

from benchmarks.harness import mlp, scale
from benchmarks.harness.gateway import Running, gateway
from benchmarks.harness.record import Evidence, spread
from benchmarks.harness.triton import Alone, triton
from benchmarks.peers import h2load
from benchmarks.peers.h2load import Load
from benchmarks.peers.peer import Wire
from benchmarks.peers.request import protocol

ROUNDS = 5
SECONDS = 4.0
IN_FLIGHT = 128
_DIRECT = "direct Triton"
_OURS = "Lupine, 2 workers"


class Run(NamedTuple):
    """What one run of h2load showed, and the seconds of CPU that the workers took for a call."""

    load: Load
    cpu: float


def main() -> int:
    """Measure, print and record."""
    evidence = Evidence("grpc-table", "Triton 24.10, Python backend; not NVIDIA's native one")
    scale.tell(evidence)
    with tempfile.TemporaryDirectory(prefix="lupine-grpc-") as scratch:
        folder = Path(scratch)
        direct = mlp.repository(folder / "direct", triton_batches=True)
        behind = ("--repository", str(mlp.repository(folder / "behind", triton_batches=False)))
        with (
            triton(direct) as alone,
            gateway(*behind, "--workers", "1") as one,
            gateway(*behind, "--workers", "2") as two,
        ):
            servers: dict[str, Alone | Running] = {
                _DIRECT: alone,
                "Lupine, 1 worker": one,
                _OURS: two,
            }
            addresses = {name: server.grpc_url for name, server in servers.items()}
            workers = {
                name: server.workers() if isinstance(server, Running) else []
                for name, server in servers.items()
            }
            runs = _measure(addresses, workers, folder)
    _report(evidence, runs)
    return evidence.finish()


def _measure(
    addresses: dict[str, str], workers: dict[str, list[psutil.Process]], folder: Path
) -> dict[str, list[Run]]:
    exchange = protocol()[Wire.GRPC]
    rounds = scale.times(ROUNDS)
    runs: dict[str, list[Run]] = {name: [] for name in addresses}
    sizes = {name: _size(address) for name, address in addresses.items()}
    with Progress() as progress:
        task = progress.add_task("h2load", total=(1 + rounds) * len(addresses))
        for turn in range(1 + rounds):  # the first one warms
            for name, address in addresses.items():
                before = _cpu(workers[name])
                load = h2load.run(
                    address,
                    exchange,
                    in_flight=IN_FLIGHT,
                    seconds=SECONDS if turn else 2.0,
                    size=sizes[name],
                    folder=folder,
                )
                used = _cpu(workers[name]) - before
                if turn:
                    runs[name].append(Run(load, used / load.asked))
                progress.advance(task)
    return runs


def _size(address: str) -> int:
    """The bytes of a good answer, which is held against the model computed here.

    Raises:
        ValueError: it is wrong.
    """
    exchange = protocol()[Wire.GRPC]
    with grpc.insecure_channel(address) as channel:
        body = bytes(channel.unary_unary(exchange.path)(exchange.body, timeout=20))
    exchange.read({}, body)
    return len(body)


def _cpu(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _report(evidence: Evidence, runs: dict[str, list[Run]]) -> None:
    for name, found in runs.items():
        cpu = [run.cpu * 1e6 for run in found]
        evidence.add(
            name,
            f"{spread([run.load.rate for run in found], 0)} calls/s, "
            f"p50 {spread([run.load.p50 for run in found])} ms, "
            f"p99 {spread([run.load.p99 for run in found])} ms"
            + (f", {spread(cpu, 0)} µs of CPU a call in the workers" if any(cpu) else ""),
        )
        evidence.raw[name] = [
            {"rate": run.load.rate, "p50_ms": run.load.p50, "p99_ms": run.load.p99, "cpu": run.cpu}
            for run in found
        ]
        if failed := sum(run.load.failed for run in found):
            evidence.fault(f"{name}: {failed} calls failed")
    pairs = list(zip(runs[_OURS], runs[_DIRECT], strict=True))
    rates = [ours.load.rate / base.load.rate for ours, base in pairs]
    tails = [ours.load.p99 / base.load.p99 for ours, base in pairs]
    evidence.add(
        "calls/s ÷ direct", spread(rates, 2), "≥ 0.4", holds=float(np.median(rates)) >= 0.4
    )
    evidence.add("p99 ÷ direct", spread(tails, 2), "≤ 2.0", holds=float(np.median(tails)) <= 2)
