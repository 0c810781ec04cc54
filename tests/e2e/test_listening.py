"""Where a gateway can be reached, by whom."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from benchmarks.harness.gateway import gateway


@pytest.mark.parametrize(
    "name", ["run", "a-folder-whose-name-is-longer-than-any-socket-address-" * 3]
)
def test_nothing_but_the_two_wires_listens(tmp_path: Path, name: str) -> None:
    """BentoML's supervisor has a control port that asks for no credential: not here."""
    config = tmp_path / "repository" / "m" / "config.pbtxt"
    (config.parent / "1").mkdir(parents=True)
    config.write_text(
        'input { name: "x" data_type: TYPE_FP32 dims: 1 }'
        'output { name: "y" data_type: TYPE_FP32 dims: 1 }'
    )
    run_dir = tmp_path / name
    run_dir.mkdir(mode=0o700)
    flags = ("--engine", "echo", "--workers", "2", "--repository", str(tmp_path / "repository"))
    with gateway(*flags, environment={"LUPINE_RUN_DIR": str(run_dir)}) as running:
        listening = {
            connection.laddr.port
            for process in running.family()
            for connection in process.net_connections("inet")
            if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
        }
        assert listening - {running.grpc_port} == {running.port}
        assert (run_dir / "circus.control").is_socket()
