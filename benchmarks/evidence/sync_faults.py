"""What the registry sync does when something is wrong, fault by fault; what served serves on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from junitparser import JUnitXml, Properties, Skipped, TestCase

from benchmarks.harness.gateway import ROOT
from benchmarks.harness.record import Evidence

_TESTS = (
    "tests/integration/sync",
    "tests/unit/registry/test_smoke.py",
    "tests/e2e/test_sync.py",
    "tests/e2e/test_sync_beside.py",
)
# The first family of reports has properties of a test; the second warns of them.
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-o", "junit_family=xunit1", *_TESTS)


def main() -> int:
    """Run the tests that break things, against a real MLflow; print and record each."""
    evidence = Evidence("sync-faults", "ONNX Runtime in process, Triton 24.10; MLflow 3.17.2")
    with tempfile.TemporaryDirectory(prefix="lupine-faults-") as scratch:
        report = Path(scratch) / "junit.xml"
        done = subprocess.run(
            [*_PYTEST, f"--junitxml={report}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if not report.is_file():
            raise SystemExit(done.stdout + done.stderr)
        cases = [case for suite in JUnitXml.fromfile(str(report)) for case in suite]
    for case in cases:
        name = case.name.removeprefix("test_").replace("_", " ")
        skipped = any(isinstance(result, Skipped) for result in case.result)
        failed = bool(case.result) and not skipped
        said = "skipped" if skipped else "FAILED" if failed else f"as it should, {case.time:.1f} s"
        evidence.add(name, said, "as it should", holds=not case.result)
        if told := _told(case):
            evidence.add("  the operator sees", told)
        if failed:
            evidence.fault(name)
    return evidence.finish()


def _told(case: TestCase) -> str:
    """What the test recorded of what is said."""
    found = case.child(Properties)
    return "; ".join(dict.fromkeys(str(one.value) for one in found or ()))
