"""Two thousand Locust users on one machine, the gateway beside them: what can be certified there?

Each user has a connection of its own and asks once in so many seconds, at random. The rate is
raised from what the machine bears easily to what it does not; each verdict, with its doubts, is
recorded as it comes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.harness import scale
from benchmarks.harness.bench import bench
from benchmarks.harness.gateway import Running, gateway
from benchmarks.harness.record import Evidence

_USERS = 2000
_LIMIT_MS = 100
_SECONDS = 60.0
_TRIALS = ((20.0, 1), (10.0, 1), (4.0, 1), (2.0, 1), (2.0, 2), (1.0, 2))
"""Seconds between two requests of a user, and processes of the generator."""


def main() -> int:
    """Run every trial against one gateway, print and record."""
    evidence = Evidence("users", "Triton 24.10, Python backend; 2 workers; digits, HTTP binary")
    scale.tell(evidence)
    with gateway("--engine", "triton", "--workers", "2") as running:
        for think, processes in _TRIALS:
            _trial(evidence, running, think, processes)
    return evidence.finish()


def _trial(evidence: Evidence, running: Running, think: float, processes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="lupine-users-") as scratch:
        seconds = scale.seconds(_SECONDS, 20.0)
        sla = (
            f"title = '2,000 users'\nduration_seconds = {seconds}\nwarmup_seconds = 10\n"
            f"repetitions = 1\nprocesses = {processes}\n[[target]]\nname = 'digits'\n"
            f"model = 'digits'\nusers = {_USERS}\nthink_seconds = {think}\n"
            f"limits = {{ p99_ms = {_LIMIT_MS}, error_ratio = 0.0 }}\n"
        )
        report = bench(running, sla, Path(scratch))
    (verdict,), (target,) = report.verdict.targets, report.targets
    p99 = verdict.claims[0]
    found = "∞" if p99.measured is None else f"{p99.measured:.1f} ms"
    high = "unknown" if p99.high is None else f"{p99.high:.1f} ms"
    name = f"{_USERS:,} users, one request each {think:g} s, {processes} generator process" + (
        "es" if processes > 1 else ""
    )
    evidence.add(
        name,
        f"{report.verdict.outcome}: {target.achieved_rate:.0f} answers/s of {_USERS / think:.0f},"
        f" {sum(target.failed.values())} failed, p99 {found} (at most {high})",
        f"p99 ≤ {_LIMIT_MS} ms, no failure",
    )
    for kind, count in target.failed.items():
        evidence.add("", f"{count} failed: {kind}")
        if kind == "wrong answer":
            evidence.fault(f"{name}: {count} wrong answers")
    for doubt in report.verdict.doubts:
        evidence.add("", doubt.what)
    evidence.raw[name] = {
        "outcome": report.verdict.outcome,
        "asked": target.asked,
        "failed": target.failed,
        "answered_per_second": target.achieved_rate,
        "latency_p99_ms": target.latency.p99_ms,
        "service_p99_ms": target.service.p99_ms,
        "late_p99_ms": target.late_p99_ms,
        "doubts": [doubt.what for doubt in report.verdict.doubts],
    }
