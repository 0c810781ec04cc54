"""One-row requests through the gateway beside the same Triton called directly, by wrk.

All take turns within one run, so that a machine whose speed drifts favours nobody. Direct Triton
batches dynamically; behind the gateway the gateway does. With the engine `onnx` there is no Triton
behind the gateway.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.harness import mlp, scale, turns, wrk
from benchmarks.harness.gateway import gateway
from benchmarks.harness.record import Evidence, spread
from benchmarks.harness.triton import triton
from benchmarks.harness.turns import Loads
from benchmarks.harness.wrk import Load

CONNECTIONS = (1, 16, 64, 256, 2000)
ROUNDS = 5
SECONDS = 4
_PATH = "/v2/models/mlp/infer"
_DIRECT, _OURS, _ONNX = "direct Triton", "Lupine, 2 workers", "Lupine, engine onnx"
_RATE = {16: 0.65, 64: 0.75, 256: 0.9, 2000: 1.0}  # of direct, at least
_P99 = {16: 1.6, 64: 1.3, 256: 1.3, 2000: 1.3}  # times direct, at most
_P50 = {1: 1.8}
_ONNX_RATE = {256: 1.0}


def main() -> int:
    """Measure, print and record."""
    evidence = Evidence("first-table", "Triton 24.10, Python backend; not NVIDIA's native one")
    scale.tell(evidence)
    with tempfile.TemporaryDirectory(prefix="lupine-table-") as scratch:
        folder = Path(scratch)
        request = wrk.script(folder, mlp.INPUT, [1, 64], mlp.OUTPUT)
        direct = mlp.repository(folder / "direct", triton_batches=True)
        behind = ("--repository", str(mlp.repository(folder / "behind", triton_batches=False)))
        with (
            triton(direct) as alone,
            gateway(*behind, "--workers", "1") as one,
            gateway(*behind, "--workers", "2") as two,
            gateway(*behind, "--workers", "2", "--engine", "onnx") as onnx,
        ):
            targets = {
                _DIRECT: alone.url,
                "Lupine, 1 worker": one.url,
                _OURS: two.url,
                _ONNX: onnx.url,
            }
            loads = turns.measure(
                {name: url + _PATH for name, url in targets.items()},
                request,
                CONNECTIONS,
                rounds=scale.times(ROUNDS),
                seconds=SECONDS,
            )
    _report(evidence, loads)
    _judge(evidence, loads)
    return evidence.finish()


def _ratios(loads: Loads, name: str, connections: int, of: Callable[[Load], float]) -> list[float]:
    """A figure of each run, over that of direct Triton in the same round."""
    pairs = zip(loads[name, connections], loads[_DIRECT, connections], strict=True)
    return [of(ours) / of(base) for ours, base in pairs]


def _report(evidence: Evidence, loads: Loads) -> None:
    for (name, connections), runs in sorted(loads.items(), key=lambda item: item[0][1]):
        evidence.add(
            f"{name}, {connections} connections",
            f"{spread([run.rate for run in runs], 0)} requests/s, "
            f"p50 {spread([run.p50 for run in runs], 2)} ms, "
            f"p99 {spread([run.p99 for run in runs], 2)} ms",
        )
        turns.keep(evidence, f"{name}, {connections}", runs)


def _judge(evidence: Evidence, loads: Loads) -> None:
    """Beside the targets: rates have to be high, latencies low."""
    rows: tuple[tuple[str, str, Callable[[Load], float], Mapping[int, float], bool], ...] = (
        ("requests/s ÷ direct", _OURS, lambda run: run.rate, _RATE, True),
        ("p99 ÷ direct", _OURS, lambda run: run.p99, _P99, False),
        ("p50 ÷ direct", _OURS, lambda run: run.p50, _P50, False),
        ("engine onnx: requests/s ÷ direct", _ONNX, lambda run: run.rate, _ONNX_RATE, True),
    )
    for what, name, of, targets, high in rows:
        for connections, target in targets.items():
            ratios = _ratios(loads, name, connections, of)
            middle = float(np.median(ratios))
            evidence.add(
                f"{what}, {connections} connections",
                spread(ratios, 2),
                f"{'≥' if high else '≤'} {target:g}",
                holds=middle >= target if high else middle <= target,
            )
