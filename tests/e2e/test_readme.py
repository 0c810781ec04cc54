"""What the README tells a newcomer to type, typed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.gateway import Running

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.triton


def block(language: str, running: Running) -> str:
    """The README's executed block in a language, called on the test's port."""
    text = (ROOT / "README.md").read_text()
    marked = r"<!-- executed by tests/e2e/test_readme.py -->\n```" + language + r"\n(.*?)```"
    found = re.search(marked, text, re.DOTALL)
    assert found is not None
    return found[1].replace("127.0.0.1:3000", f"127.0.0.1:{running.port}")


def test_the_first_call_in_python_gets_the_right_digit(running: Running) -> None:
    """The picture of a one is read as a one."""
    done = subprocess.run(
        [sys.executable, "-c", block("python", running)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "it is a 1"


def test_the_first_calls_in_curl_get_json(running: Running) -> None:
    """Metadata of two models, and the type of a file."""
    done = subprocess.run(
        ["bash", "-euc", block("bash", running)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    answers = done.stdout.replace("}{", "}\n{").splitlines()
    digits, parcels, identified = map(json.loads, answers)
    assert digits["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
    assert [spec["name"] for spec in parcels["outputs"]] == ["route", "probabilities"]
    assert identified["label"] == "markdown"
