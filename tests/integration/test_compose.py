"""`deploy/compose.yaml`: the schema of Compose, our promises, and Triton's own flags, tried out."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from benchmarks.harness.gateway import ROOT, free_port
from service import settings
from service.runner.runtime import assemble_backends
from tests.committed import SERVED
from tests.requires import require_triton_runtime

_FILE = ROOT / "deploy" / "compose.yaml"
_SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(_FILE.read_text())["services"]
_GATEWAY, _TRITON = _SERVICES["gateway"], _SERVICES["triton"]


def test_it_fits_the_schema_of_compose() -> None:
    """The specification's own schema, which check-jsonschema carries."""
    check = Path(sys.executable).with_name("check-jsonschema")
    command = [str(check), "--builtin-schema", "vendor.compose-spec", str(_FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_of_the_gateway_is_a_setting() -> None:
    """The settings take its environment as it is, and what it says is in effect."""
    environment = {
        name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value)
        for name, value in _GATEWAY["environment"].items()
    }
    assert all(name.startswith(settings.PREFIX) for name in environment)
    chosen, _ = settings.load(environment, ROOT)
    assert chosen.triton.url == "triton:8001"
    assert chosen.triton.metrics_url == "http://triton:8002/metrics"


def test_both_see_the_same_repository_and_cannot_change_it() -> None:
    """One folder, at one path, read-only."""
    assert _GATEWAY["volumes"] == _TRITON["volumes"] == ["../triton_repo:/models:ro"]
    assert (_FILE.parent / "../triton_repo").resolve() == ROOT / "triton_repo"
    assert _GATEWAY["environment"]["LUPINE_REPOSITORY__PATH"] == "/models"
    assert "--model-repository=/models" in _TRITON["command"]


@pytest.mark.parametrize("name", _SERVICES)
def test_each_service_is_hardened(name: str) -> None:
    """Nothing to write to, no capability, no way to gain one."""
    service = _SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert [entry.partition(":")[0] for entry in service["tmpfs"]] == ["/tmp"]  # noqa: S108 - the container's


def test_triton_is_reached_by_the_gateway_alone() -> None:
    """No port of Triton's is published, its network leads nowhere else; ours are on loopback."""
    assert "ports" not in _TRITON
    assert _TRITON["networks"] == ["inside"]
    assert yaml.safe_load(_FILE.read_text())["networks"]["inside"] == {"internal": True}
    assert _GATEWAY["ports"] == ["127.0.0.1:3000:3000", "127.0.0.1:3001:3001"]


def test_each_has_the_time_that_it_needs_to_start_and_to_end() -> None:
    """The gateway drains before it is killed, Triton outlives it, and is healthy before it."""
    chosen, _ = settings.load({"LUPINE_SERVER__GRACE_SECONDS": "30"}, ROOT)
    assert _GATEWAY["environment"]["LUPINE_SERVER__GRACE_SECONDS"] == "30"
    gateway, triton = (int(s["stop_grace_period"].rstrip("s")) for s in (_GATEWAY, _TRITON))
    assert triton > gateway > chosen.server.grace_seconds
    assert _GATEWAY["depends_on"] == {"triton": {"condition": "service_healthy"}}
    assert "/v2/health/ready" in _TRITON["healthcheck"]["test"][-1]


def test_it_is_the_release_that_the_project_is_tested_with() -> None:
    """The container's Triton and the managed one are both of release 24.10."""
    assert _TRITON["image"] == "nvcr.io/nvidia/tritonserver:24.10-py3"


@pytest.mark.triton
def test_triton_takes_the_flags_and_loads_every_model(tmp_path: Path) -> None:
    """A tritonserver of that release, started by that command, has all models ready."""
    runtime = require_triton_runtime()
    port = free_port()
    command = [
        str(runtime.server),
        *(
            flag.replace("=/models", f"={ROOT / 'triton_repo'}")
            for flag in _TRITON["command"]
            if flag != "tritonserver"
        ),
        f"--backend-directory={assemble_backends(runtime, tmp_path / 'backends')}",
        *(f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc", "metrics")),
        f"--http-port={port}",
        f"--grpc-port={free_port()}",
        f"--metrics-port={free_port()}",
    ]
    (tmp_path / "empty").mkdir()
    log = tmp_path / "log"
    with log.open("wb") as sink:
        server = subprocess.Popen(
            command,
            cwd=tmp_path / "empty",
            env=runtime.environment(),
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        states = _index(server, f"http://127.0.0.1:{port}", log)
        assert states == dict.fromkeys(SERVED, "READY")
        assert re.search(r"strict_model_config\s*\|\s*1", log.read_text())
        assert re.search(r"model_control_mode\s*\|\s*MODE_EXPLICIT", log.read_text())
    finally:
        server.terminate()
        server.wait(60)


def _index(server: subprocess.Popen[bytes], url: str, log: Path) -> dict[str, str]:
    for _ in range(1200):
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(f"{url}/v2/health/ready").status_code == httpx.codes.OK:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    listed = httpx.post(f"{url}/v2/repository/index").json()
    return {model["name"]: model["state"] for model in listed}
