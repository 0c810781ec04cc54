"""Aliases move in a real MLflow under callers on both wires: nothing fails, all follow."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.harness import adding, scale
from benchmarks.harness.record import Evidence
from benchmarks.harness.registered import Registered
from benchmarks.harness.synced import FOLLOW_SECONDS, Synced, synced
from benchmarks.harness.versioned import Answer, Callers

_MODEL = "swapped"
_CALLERS = 64
_CYCLES = 20
_POLL_SECONDS = 1.0
_SELDOM_SECONDS = 600.0  # no poll is to be taken for the webhook
_STEADY_SECONDS = 15.0
_P99_TARGET = 1.5


def main() -> int:
    """Serve, call, publish, promote, roll back; print and record."""
    evidence = Evidence("swap", "Triton 24.10, Python backend; MLflow 3.17.2; 2 workers")
    scale.tell(evidence)
    for how, poll_seconds, webhook in (
        (f"by a poll every {_POLL_SECONDS:g} s", _POLL_SECONDS, False),
        ("by MLflow's webhook", _SELDOM_SECONDS, True),
    ):
        with synced(poll_seconds, webhook=webhook) as both:
            both.registered.model(_MODEL)
            _publish(both.registered, "champion")
            both.await_served(_MODEL, "1")
            _swap(evidence, how, both)
    return evidence.finish()


def _swap(evidence: Evidence, how: str, both: Synced) -> None:
    cycles = scale.times(_CYCLES)
    published, callers = both.registered, Callers(both.running, _MODEL, _CALLERS)
    followed, settled = [], []
    with callers.asking():
        time.sleep(scale.seconds(_STEADY_SECONDS, 5.0))
        steady_until = time.monotonic()
        for _ in range(cycles):
            before = published.aliases(_MODEL)["champion"]
            version = _publish(published, "challenger")
            both.await_served(f"{_MODEL}@challenger", version)
            for target in (version, before, version):  # promote, roll back, promote again
                moved = time.monotonic()
                published.alias(_MODEL, "champion", target)
                last = _await_flip(callers, target, moved)
                followed.append(last[0])
                settled.append(last[1])
    evidence.add(how, f"{_CALLERS} callers, both wires: {len(callers.answers):,} requests")
    _judge(evidence, how, callers.answers, steady_until, cycles)
    evidence.add(
        "seconds from the alias to the traffic",
        f"median {statistics.median(followed):.2f}, at most {max(followed):.2f}",
    )
    evidence.add(
        "seconds from the first answer of the new version to the last of the old one",
        f"median {statistics.median(settled):.3f}, at most {max(settled):.3f}",
    )
    evidence.raw[how] |= {"followed": followed, "settled": settled}


def _judge(evidence: Evidence, how: str, answers: list[Answer], steady: float, cycles: int) -> None:
    faults = [answer.fault for answer in answers if answer.fault]
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
    evidence.raw[how] = {"p99 ms": p99}


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


def _await_flip(callers: Callers, version: str, moved: float) -> tuple[float, float]:
    """Seconds until the first answer of a version, and from then to the last of another."""
    deadline = moved + FOLLOW_SECONDS
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
        raise RuntimeError(f"no answer of version {version} within {FOLLOW_SECONDS:g} s")
    time.sleep(1.0)
    others = [a.came for a in callers.answers[seen:] if a.version != version and a.came > first]
    return first - moved, max(others, default=first) - first
