"""A real gateway whose latencies are planted, judged by `lupine bench` as users call it.

The engine echo sleeps as long as each request says; the golden cases say it. What the gateway, the
kernel and the generator add lies on top, so the true p99 is a little above the planted one.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track
from scipy import special

from benchmarks.harness import scale
from benchmarks.harness.bench import bench
from benchmarks.harness.gateway import gateway
from benchmarks.harness.record import Evidence, spread
from benchmarks.verdict import Outcome

RUNS = 5
_SECONDS = 60.0
_RATE = 80.0
_CASES = 2000
_SIGMA = 0.5  # as in the simulation
_THREADS = 64  # runs of echo at once: nobody waits for another
_CONFIG = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }
parameters { key: "lupine.batching" value { string_value: "off" } }
"""


def real(evidence: Evidence, planted_ms: float, limits_ms: Sequence[float]) -> None:
    """Five benchmarks, each of a target for every limit.

    Args:
        evidence: takes the rates of each verdict.
        planted_ms: the p99 of what echo sleeps.
        limits_ms: of the targets.
    """
    told: dict[float, Counter[str]] = {limit: Counter() for limit in limits_ms}
    measured: dict[float, list[float]] = {limit: [] for limit in limits_ms}
    doubts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="lupine-planted-") as scratch:
        folder = Path(scratch)
        flags = _repository(folder, planted_ms)
        environment = {"LUPINE_ENGINE__THREADS": str(_THREADS)}
        with gateway(*flags, environment=environment) as running:
            for run in track(range(scale.times(RUNS)), "real runs", transient=True):
                sla = _sla(limits_ms, run)
                report = bench(running, sla, folder, out=f"report-{run}")
                doubts.update(doubt.what for doubt in report.verdict.doubts)
                for limit, target in zip(limits_ms, report.verdict.targets, strict=True):
                    told[limit][target.outcome] += 1
                    measured[limit].append(target.claims[0].measured or float("inf"))
    for limit in limits_ms:
        wrong = [Outcome.PASS] if limit <= planted_ms else [Outcome.FAIL]
        evidence.add(
            f"real, p99 {planted_ms:g} ms planted, limit {limit:g} ms",
            f"{', '.join(f'{outcome} {told[limit][outcome]}' for outcome in Outcome)};"
            f" measured {spread(measured[limit])} ms",
            f"no {wrong[0]}",
            holds=not told[limit][wrong[0]],
        )
    evidence.raw["real"] = {
        "outcomes": {f"{limit:g} ms": dict(told[limit]) for limit in limits_ms},
        "p99_ms": {f"{limit:g} ms": measured[limit] for limit in limits_ms},
        "doubts": doubts,
        "rate": _RATE,
        "seconds": scale.seconds(_SECONDS, 20.0),
    }


def _repository(folder: Path, planted_ms: float) -> tuple[str, ...]:
    """The model, its golden cases, and the flags of a gateway that serves it."""
    (folder / "models" / "planted" / "1").mkdir(parents=True)
    (folder / "models" / "planted" / "config.pbtxt").write_text(_CONFIG)
    # The quantiles of a lognormal distribution in random order: its p99 is the planted one exactly.
    shares = (np.random.default_rng(1).permutation(_CASES) + 0.5) / _CASES
    millis = planted_ms * np.exp(_SIGMA * (special.ndtri(shares) - special.ndtri(0.99)))
    x = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 2.0, 3.0, 4.0]}
    cases = [
        {
            "inputs": [x],
            "outputs": [x | {"name": "y"}],
            "parameters": {"echo.latency_ms": float(ms)},
        }
        for ms in millis
    ]
    (folder / "planted.json").write_text(json.dumps({"cases": cases}))
    return "--engine", "echo", "--workers", "1", "--repository", str(folder / "models")


def _sla(limits_ms: Sequence[float], run: int) -> str:
    """A target for every limit; each run has requests of its own."""
    seconds = scale.seconds(_SECONDS, 20.0)
    head = f"title = 'planted'\nseed = {run}\nduration_seconds = {seconds}\nrepetitions = 1\n"
    targets = [
        f"[[target]]\nname = 'limit {limit:g} ms'\nmodel = 'planted'\nwire = 'http-binary'\n"
        f"rate = {_RATE}\nconnections = 64\npayloads = 'planted.json'\n"
        f"limits = {{ p99_ms = {limit} }}\n"
        for limit in limits_ms
    ]
    return "".join([head, *targets])
