"""`deploy/ci/github-actions.yml`: GitHub's schema, and commands that there are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness.gateway import ROOT
from models.catalog import NAMES

_FILE = ROOT / "deploy" / "ci" / "github-actions.yml"
_JOBS: dict[str, dict[str, Any]] = yaml.safe_load(_FILE.read_text())["jobs"]
_COMMANDS = [step["run"] for job in _JOBS.values() for step in job["steps"] if "run" in step]


def test_it_fits_the_schema_of_workflows() -> None:
    """The schema that check-jsonschema carries."""
    check = Path(sys.executable).with_name("check-jsonschema")
    command = [str(check), "--builtin-schema", "vendor.github-workflows", str(_FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_commands_are_the_projects() -> None:
    """Every `make` target is in the Makefile, every `lupine` command answers --help."""
    makefile = (ROOT / "Makefile").read_text()
    targets = {found for text in _COMMANDS for found in re.findall(r"\bmake ([a-z-]+)", text)}
    assert targets >= {"test", "setup", "dev", "bento"}
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    programs = {
        found for text in _COMMANDS for found in re.findall(r"\.venv/bin/lupine ([a-z]+)", text)
    }
    assert programs == {"bench", "export", "serve"}
    lupine = Path(sys.executable).with_name("lupine")
    for program in programs:
        subprocess.run([lupine, program, "--help"], check=True, capture_output=True)


def test_what_changed_is_told_as_the_workflow_reads_it() -> None:
    """`models stale --json` is an object by model, empty on a fresh checkout; --changed agrees."""
    command = [sys.executable, "-m", "models", "stale", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    stale = json.loads(done.stdout)
    assert stale.keys() <= set(NAMES)
    assert stale == {}
    command = [sys.executable, "-m", "models", "export", "--changed", "--out", "unused"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "nothing to make" in done.stdout


def test_the_order_is_test_bento_gate() -> None:
    """What is built has been tested, and what is held to the SLA has been built."""
    assert _JOBS["bento"]["needs"] == "test"
    assert _JOBS["sla"]["needs"] == "bento"
    assert _JOBS["export"]["needs"] == "changed"
