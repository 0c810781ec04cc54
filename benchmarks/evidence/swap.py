"""Aliases move in a real MLflow under callers on both wires: nothing fails, all follow."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np

from benchmarks.harness import adding, scale
from benchmarks.harness.gateway import LUPINE, Running, gateway
from benchmarks.harness.processes import stop
from benchmarks.harness.record import Evidence
from benchmarks.harness.registered import Registered
from benchmarks.harness.registry import registry
from benchmarks.harness.versioned import Answer, Callers

_MODEL = "swapped"
_CALLERS = 64
_CYCLES = 20
_POLL_SECONDS = 1.0
_STEADY_SECONDS = 15.0
_FOLLOW_SECONDS = 60.0
_STOP_SECONDS = 30.0
_P99_TARGET = 1.5


def main() -> int:
    """Serve, call, publish, promote, roll back; print and record."""
    evidence = Evidence("swap", "Triton 24.10, Python backend; MLflow 3.17.2; 2 workers")
    scale.tell(evidence)
    with tempfile.TemporaryDirectory(prefix="lupine-swap-") as scratch:
        folder = Path(scratch)
        repository = folder / "models"
        repository.mkdir()
        with (
            registry(folder) as url,
            gateway(
                "--repository", str(repository), "--engine", "triton", "--workers", "2"
            ) as running,
        ):
            published = Registered(url)
            published.model(_MODEL)
            _publish(published, "champion")
            with _watching(url, running, repository):
                _await_served(running, _MODEL, "1")
                _swap(evidence, published, Callers(running, _MODEL, _CALLERS))
            published.close()
    return evidence.finish()


def _swap(evidence: Evidence, published: Registered, callers: Callers) -> None:
    cycles = scale.times(_CYCLES)
    followed, settled = [], []
    with callers.asking():
        time.sleep(scale.seconds(_STEADY_SECONDS, 5.0))
        steady_until = time.monotonic()
        for _ in range(cycles):
            before = published.aliases(_MODEL)["champion"]
            version = _publish(published, "challenger")
            _await_served(callers.running, f"{_MODEL}@challenger", version)
            for target in (version, before, version):  # promote, roll back, promote again
                moved = time.monotonic()
                published.alias(_MODEL, "champion", target)
                last = _await_flip(callers, target, moved)
                followed.append(last[0])
                settled.append(last[1])
    _judge(evidence, callers.answers, steady_until, cycles)
    evidence.add(
        f"seconds from the alias to the traffic, by a poll every {_POLL_SECONDS:g} s",
        f"median {statistics.median(followed):.2f}, at most {max(followed):.2f}",
    )
    evidence.add(
        "seconds from the first answer of the new version to the last of the old one",
        f"median {statistics.median(settled):.3f}, at most {max(settled):.3f}",
    )
    evidence.raw["followed"], evidence.raw["settled"] = followed, settled


def _judge(evidence: Evidence, answers: list[Answer], steady: float, cycles: int) -> None:
    faults = [answer.fault for answer in answers if answer.fault]
    evidence.add(f"{_CALLERS} callers, both wires", f"{len(answers):,} requests")
    evidence.add("publish, promote, roll back, promote again", f"{cycles} times")
    evidence.add("failed, or answered by another version than it says", len(faults), "0",
                 holds=not faults)  # fmt: skip
    for fault in faults:
        evidence.fault(fault)
    p99 = {
        "steady": _p99([answer for answer in answers if answer.came < steady]),
        "during": _p99([answer for answer in answers if answer.sent >= steady]),
    }
    ratio = p99["during"] / p99["steady"]
    evidence.add("p99 steady, ms", f"{p99['steady']:.1f}")
    evidence.add("p99 during, ms", f"{p99['during']:.1f}")
    evidence.add("p99 during ÷ steady", f"{ratio:.2f}", f"≤ {_P99_TARGET}",
                 holds=ratio <= _P99_TARGET)  # fmt: skip
    evidence.raw["p99 ms"] = p99


def _p99(answers: Sequence[Answer]) -> float:
    """Milliseconds."""
    return float(np.quantile([one.came - one.sent for one in answers], 0.99)) * 1000


def _publish(published: Registered, alias: str) -> str:
    """The next version: it adds its own number."""
    number = int(max(published.aliases(_MODEL).values(), key=int, default="0")) + 1
    version = published.version(_MODEL, {"model.onnx": adding.model(float(number))})
    if version != str(number):
        raise RuntimeError(f"the registry gave version {version}, {number} was expected")
    published.alias(_MODEL, alias, version)
    return version


@contextlib.contextmanager
def _watching(url: str, running: Running, repository: Path) -> Iterator[None]:
    """`lupine sync watch`, until the block ends."""
    told = {
        "MLFLOW_TRACKING_URI": url,
        "LUPINE_SERVER__PORT": str(running.port),
        "LUPINE_REGISTRY__POLL_SECONDS": str(_POLL_SECONDS),
    }
    process = subprocess.Popen(
        [LUPINE, "sync", "watch", "--repository", str(repository)],
        env=os.environ | told,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        stop(process, _STOP_SECONDS)


def _await_served(running: Running, name: str, version: str) -> None:
    deadline = time.monotonic() + _FOLLOW_SECONDS
    while time.monotonic() < deadline:
        if _answers(running, name) == version:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{name} is not version {version} within {_FOLLOW_SECONDS:g} s")


def _answers(running: Running, name: str) -> str:
    x = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0.0]}
    asked = httpx.post(
        f"{running.url}/v2/models/{name}/infer", json={"inputs": [x]}, timeout=10, trust_env=False
    )
    return str(asked.json().get("model_version", "")) if asked.is_success else ""


def _await_flip(callers: Callers, version: str, moved: float) -> tuple[float, float]:
    """Seconds until the first answer of a version, and from then to the last of another."""
    deadline = moved + _FOLLOW_SECONDS
    seen = len(callers.answers)
    first = None
    while time.monotonic() < deadline:
        for answer in callers.answers[seen:]:
            if answer.version == version and answer.sent >= moved:
                first = answer.came
                break
        if first is not None:
            break
        time.sleep(0.02)
    if first is None:
        raise RuntimeError(f"no answer of version {version} within {_FOLLOW_SECONDS:g} s")
    time.sleep(1.0)
    others = [a.came for a in callers.answers[seen:] if a.version != version and a.came > first]
    return first - moved, max(others, default=first) - first
