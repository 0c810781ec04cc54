"""The models: made twice, the same bytes; served by both engines and wires as they should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness.gateway import LUPINE, ROOT, gateway
from benchmarks.harness.record import Evidence

_BACKENDS = {"triton": "Triton 24.10, Python backend", "onnx": "ONNX Runtime in process"}
# What a processor without AVX2 would compute with: torch's, MKL's and NumPy's plainest kernels.
_PLAIN = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
}


def main() -> int:
    """Export twice, compare, serve and test, print and record."""
    evidence = Evidence("models", "; ".join(_BACKENDS.values()))
    with tempfile.TemporaryDirectory(prefix="lupine-models-") as scratch:
        repository = Path(scratch) / "one" / "repository"
        again = Path(scratch) / "two" / "repository"
        made = _exported(repository)
        others = {one["model"]: one for one in _exported(again, _PLAIN)}
        for one in made:
            _describe(evidence, one, others[one["model"]])
        names = [one["model"] for one in made]
        for engine, backend in _BACKENDS.items():
            with gateway("--repository", str(repository), "--engine", engine) as running:
                for name in names:
                    _behaves(evidence, f"{name}, HTTP, {backend}", name, "--url", running.url)
                    _behaves(evidence, f"{name}, gRPC, {backend}", name, "--grpc", running.grpc_url)
    _broken(evidence)
    return evidence.finish()


def _exported(repository: Path, environment: dict[str, str] | None = None) -> list[dict[str, Any]]:
    command = [LUPINE, "export", "--all", "--json", "--out", str(repository)]
    if environment is None:
        command.append("--check-tensorrt")
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | (environment or {}),
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    made: list[dict[str, Any]] = json.loads(done.stdout)
    return made


def _describe(evidence: Evidence, one: dict[str, Any], other: dict[str, Any]) -> None:
    name, milliseconds = one["model"], one["milliseconds"]
    evidence.add(
        name,
        f"{one['bytes']:,} bytes, tolerance {one['tolerance']:g}, {milliseconds['1']} ms a row, "
        f"{milliseconds['32']} ms for 32, made in {one['seconds']:.0f} s",
    )
    same = one["sha256"] == other["sha256"]
    evidence.add(
        f"{name}: made twice, in two processes, with a modern and a plain processor's kernels",
        f"{one['sha256'][:12]} and {other['sha256'][:12]}",
        "the same",
        holds=same,
    )
    evidence.add(
        f"{name}: as recorded, perhaps on another machine",
        "the same bytes" if one["reproduced"] else f"other bytes: {one['differs']}",
        "the same bytes",
        holds=one["reproduced"],
    )
    evidence.add(f"{name}: TensorRT, without a GPU", one["tensorrt"])
    evidence.raw[name] = {"first": one, "second": other}
    if not same:
        evidence.fault(f"{name}: {one['sha256']} and {other['sha256']}")


def _behaves(evidence: Evidence, what: str, name: str, *where: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "models", "behave", name, "--json", *where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout:
        raise SystemExit(done.stderr)
    findings = json.loads(done.stdout)
    failed = [one for one in findings if not one["passed"]]
    evidence.add(
        f"tests of behaviour: {what}",
        f"{len(findings)} run, {len(failed)} failed",
        "0 failed",
        holds=not failed,
    )
    for one in failed:
        evidence.fault(f"{what}: {one['kind']} {one['name']!r}: {one['said']}")


def _broken(evidence: Evidence) -> None:
    """Broken exports, each of which a test expects to be refused with its own message."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/unit/models/test_export.py", "-k", "caught"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = done.stdout.strip().splitlines()[-1]
    evidence.add(
        "broken exports: operator, axis, shape, size, file outside", told, "all caught",
        holds=done.returncode == 0,
    )  # fmt: skip
    if done.returncode:
        evidence.fault(done.stdout[-2000:])
