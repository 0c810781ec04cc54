"""`/docs`, opened in a real browser."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.harness.gateway import Running
from tests.requires import require_program

pytestmark = pytest.mark.triton
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def test_the_page_shows_the_task_api_and_the_protocol(running: Running, tmp_path: Path) -> None:
    """Swagger UI runs under the page's policy, and lists what a newcomer looks for."""
    done = subprocess.run(
        [
            require_program("chromium"),
            *_QUIET,
            f"--user-data-dir={tmp_path}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            f"{running.url}/",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    )
    for path in ("/identify", "/v2/models/{model}/infer", "/v2/repository/index"):
        assert f'data-path="{path}"' in done.stdout
    assert "violates the following Content Security Policy" not in done.stderr
