"""The managed Triton alone, as `lupine triton` runs it: what callers have without the gateway."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.harness.gateway import LUPINE, ROOT, free_port, ready

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Alone:
    """A tritonserver that is ready, on loopback.

    Args:
        port: of HTTP.
        grpc_port: of gRPC.
        process: that runs it.
    """

    port: int
    grpc_port: int
    process: psutil.Process

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc_url(self) -> str:
        """Where gRPC listens."""
        return f"127.0.0.1:{self.grpc_port}"


@contextmanager
def triton(repository: Path, model: str = "mlp") -> Iterator[Alone]:
    """Run it until the block ends.

    Args:
        repository: of its models.
        model: that must be ready.

    Raises:
        RuntimeError: it is not, in time.
    """
    port, grpc_port, metrics_port = (free_port() for _ in range(3))
    ports = {"http": port, "grpc": grpc_port, "metrics": metrics_port}
    process = subprocess.Popen(
        [LUPINE, "triton", "--repository", str(repository)]
        + [f"--{kind}-port={number}" for kind, number in ports.items()],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not (ready(port) and _model_ready(port, model)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"tritonserver did not get ready (exit {process.poll()})")
            time.sleep(0.1)
        yield Alone(port, grpc_port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


def _model_ready(port: int, model: str) -> bool:
    answer = httpx.get(f"http://127.0.0.1:{port}/v2/models/{model}/ready", timeout=5.0)
    return answer.status_code == httpx.codes.OK
