"""What the supervisor does before there are workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.gateway import ROOT, free_port

_DEPLOY = """
from service.runner import deployment
deployment._REACH_SECONDS = 0.1
deployment.deploy()
"""


@pytest.mark.parametrize("wrong", ["triton", "port"])
def test_a_start_that_fails_leaves_no_folder(tmp_path: Path, wrong: str) -> None:
    """Nor does it leave one that `lupine serve` has made for it."""
    (tmp_path / "models" / "m" / "1").mkdir(parents=True)
    (tmp_path / "models" / "m" / "config.pbtxt").write_text("max_batch_size: 0\n")
    (tmp_path / "tmp").mkdir()
    own = {
        "triton": {"LUPINE_TRITON__URL": f"127.0.0.1:{free_port()}"},
        "port": {"LUPINE_ENGINE__KIND": "echo", "LUPINE_SERVER__HOST": "192.0.2.1"},
    }[wrong]
    done = subprocess.run(
        [sys.executable, "-c", _DEPLOY],
        cwd=ROOT,
        env=os.environ
        | {"TMPDIR": str(tmp_path / "tmp"), "LUPINE_REPOSITORY__PATH": str(tmp_path / "models")}
        | own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "lupine: cannot start: " in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []
