"""`lupine sync watch` as a process: what may go wrong with it does not end it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.harness import adding
from benchmarks.harness.gateway import LUPINE, free_port
from benchmarks.harness.processes import stop
from benchmarks.harness.registered import Registered

MODEL = "watched"
PATIENCE = 60.0  # seconds


def test_a_disk_that_takes_nothing_is_told_and_heals(
    registry_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Not even the sync's own state can be written; once there is room, all is fetched."""
    registered = Registered(registry_url)
    registered.model(MODEL, serve=False)
    version = registered.version(MODEL, {"model.onnx": adding.model(1.0)})
    registered.alias(MODEL, "champion", version)
    registered.close()
    repository = tmp_path / "models"
    repository.mkdir()
    told = {
        "MLFLOW_TRACKING_URI": registry_url,
        "LUPINE_SERVER__PORT": str(free_port()),
        "LUPINE_REGISTRY__SELECT": "names",
        "LUPINE_REGISTRY__NAMES": MODEL,
        "LUPINE_REGISTRY__POLL_SECONDS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        [LUPINE, "sync", "watch", "--repository", str(repository)],
        env=os.environ | told,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_full,  # noqa: PLW1509 - it only sets a limit
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if b"File too large" in line:
                record_property("told", line.decode().strip())
                break
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, unlimited)
        state = repository.with_name("models.sync") / "state.json"
        until = time.monotonic() + PATIENCE
        while not (state.exists() and json.loads(state.read_text())["models"]):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        assert (repository / MODEL / version / "model.onnx").read_bytes() == adding.model(1.0)
    finally:
        stop(process, PATIENCE)
        process.stdout.close()


def _full() -> None:
    """As a full disk: no byte can be written to a file, until the soft limit is raised."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
