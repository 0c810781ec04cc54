"""A gateway that stalls 2 s in every 20 s: a closed loop calls it fine, an open one does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import workloads
from benchmarks.harness import scale
from benchmarks.harness.bench import bench
from benchmarks.harness.gateway import ROOT, Running, gateway
from benchmarks.harness.record import Evidence
from benchmarks.omission import stall, stock
from benchmarks.report.document import Document
from benchmarks.verdict import Outcome
from benchmarks.wires import oip_http

_LIMIT_MS = 100
_USERS = 10
_RATE = 100.0
_SECONDS = 100.0
_STOCK = Path(stock.__file__)


def main() -> int:
    """Run both against the same gateway, one after the other."""
    evidence = Evidence("omission", "ONNX Runtime in process; 1 worker, stopped 2 s in every 20 s")
    scale.tell(evidence)
    with gateway("--engine", "onnx", "--workers", "1") as running:
        seconds = scale.seconds(_SECONDS, 45.0)
        with stall.stalling(running.workers()):
            closed = _closed(running, seconds)
        with stall.stalling(running.workers()), tempfile.TemporaryDirectory() as scratch:
            report = _open(running, Path(scratch), seconds)
    _tell(evidence, closed, report)
    return evidence.finish()


def _closed(running: Running, seconds: float) -> dict[str, Any]:
    """What stock Locust says at its end."""
    case = workloads.load(ROOT / "models" / "golden" / "digits.json", "digits").cases[0]
    body, _ = oip_http.body(case, binary=False)
    command = [sys.executable, "-m", "locust", "-f", str(_STOCK), "--headless", "--json"]
    command += ["--host", running.url, "-u", str(_USERS), "-r", str(_USERS)]
    command += ["--run-time", f"{seconds:.0f}s", "--loglevel", "ERROR"]
    environment = os.environ | {stock.BODY_VARIABLE: body.decode()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    (found,) = json.loads(done.stdout)
    return dict(found)


def _open(running: Running, scratch: Path, seconds: float) -> Document:
    """What ours says."""
    sla = (
        f'title = "a gateway that stalls"\nduration_seconds = {seconds}\nrepetitions = 1\n'
        f'[[target]]\nname = "digits"\nmodel = "digits"\nwire = "http-json"\nrate = {_RATE}\n'
        f"limits = {{ p99_ms = {_LIMIT_MS} }}\n"
    )
    return bench(running, sla, scratch, shown=True)


def _tell(evidence: Evidence, closed: dict[str, Any], report: Document) -> None:
    times = {float(ms): count for ms, count in closed["response_times"].items()}
    p99 = _quantile(times, 0.99)
    evidence.add(
        f"stock Locust, {_USERS} users in a closed loop: p99",
        f"{p99:.0f} ms of {closed['num_requests']} requests, {closed['num_failures']} failed",
        f"fine: at most {_LIMIT_MS} ms",
        holds=p99 <= _LIMIT_MS,
    )
    target, verdict = report.targets[0], report.verdict
    ours = target.latency.p99_ms
    evidence.add(
        f"lupine bench, {_RATE:.0f} requests/s in an open loop: p99",
        "∞" if ours is None else f"{ours:.0f} ms of {target.asked} requests",
        f"over {_LIMIT_MS} ms",
        holds=ours is None or ours > _LIMIT_MS,
    )
    evidence.add(
        "lupine bench: the verdict",
        verdict.outcome,
        Outcome.FAIL,
        holds=verdict.outcome is Outcome.FAIL,
    )
    for doubt in verdict.doubts:
        evidence.add("a doubt", doubt.what)
    evidence.raw |= {
        "closed loop": {"p99_ms": p99, "requests": closed["num_requests"], "times": times},
        "open loop": {
            "p99_ms": ours,
            "asked": target.asked,
            "service_p99_ms": target.service.p99_ms,
            "claims": [claim.reason for t in verdict.targets for claim in t.claims],
        },
    }


def _quantile(times: dict[float, int], p: float) -> float:
    """Of Locust's own counts, as it computes its percentiles."""
    left = sum(times.values()) * (1 - p)
    for ms in sorted(times, reverse=True):
        left -= times[ms]
        if left < 0:
            return ms
    return 0.0
