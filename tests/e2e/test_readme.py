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


def blocks(language: str, running: Running) -> list[str]:
    """The README's executed blocks in a language, called on the test's ports."""
    text = (ROOT / "README.md").read_text()
    marked = r"<!-- executed by tests/e2e/test_readme.py -->\n```" + language + r"\n(.*?)```"
    return [
        found.replace("127.0.0.1:3000", f"127.0.0.1:{running.port}").replace(
            "127.0.0.1:3001", running.grpc_url
        )
        for found in re.findall(marked, text, re.DOTALL)
    ]


def test_the_first_calls_in_python_say_what_their_comments_promise(running: Running) -> None:
    """The picture of a one is read as a one, over HTTP; a light parcel is flown, over gRPC."""
    calls = blocks("python", running)
    assert len(calls) == 2
    for call, promise in zip(calls, ("it is a 1", "it goes by air"), strict=True):
        assert call.rstrip().endswith(f"# {promise}")
        done = subprocess.run(
            [sys.executable, "-c", call], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == promise


def test_the_first_calls_in_curl_get_json(running: Running) -> None:
    """Metadata of two models, and the type of a file."""
    (calls,) = blocks("bash", running)
    done = subprocess.run(
        ["bash", "-euc", calls],
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
