"""A gateway as its users start it: a subprocess, on a free port, ended by its own pid."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.harness.processes import stop

ROOT = Path(__file__).parents[2]
LUPINE = str(Path(sys.executable).with_name("lupine"))  # beside the interpreter that runs us
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_PORTS = range(15_000, 32_000)


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that is ready."""

    port: int
    grpc_port: int
    process: subprocess.Popen[bytes]
    supervisor: psutil.Process
    log: Path

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def grpc_url(self) -> str:
        """Where gRPC listens, as clients take it."""
        return f"127.0.0.1:{self.grpc_port}"

    def workers(self) -> list[psutil.Process]:
        """The workers' processes."""
        return self._below("_bentoml_impl.worker.service")

    def guardian(self) -> psutil.Process | None:
        """The guardian's process."""
        return next(iter(self._below("service.runner.guardian")), None)

    def tritonserver(self) -> psutil.Process | None:
        """The managed tritonserver's process."""
        return next(iter(self._below("tritonserver")), None)

    def family(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        return [self.supervisor, *self.supervisor.children(recursive=True)]

    def _below(self, word: str) -> list[psutil.Process]:
        return [p for p in self.supervisor.children(recursive=True) if word in _command(p)]


def _command(process: psutil.Process) -> str:
    try:
        parts = process.cmdline()
    except psutil.Error:
        return ""
    # A stub's arguments name its server too: the program itself decides.
    return " ".join(parts) if parts and "stub" not in parts[0] else ""


def free_port() -> int:
    """A port that nobody had a moment ago, at any address.

    Below those that the kernel gives to outgoing connections: one of them would hold it too.
    """
    while True:
        port = random.randrange(_PORTS.start, _PORTS.stop)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port


@contextmanager
def gateway(
    *flags: str,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    grpc_port: int | None = None,
) -> Iterator[Running]:
    """Run `lupine serve` with the flags until the block ends.

    Raises:
        RuntimeError: it ended, or was not ready in time; the end of its log is in the text.
    """
    port = port or free_port()
    grpc_port = grpc_port or free_port()
    with tempfile.TemporaryDirectory(prefix="lupine-evidence-") as scratch:
        log = Path(scratch) / "log"
        ports = ("--port", str(port), "--grpc-port", str(grpc_port))
        command = [LUPINE, "serve", *ports, *flags]
        with log.open("wb") as sink:
            begun = time.monotonic()
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=os.environ | dict(environment or {}),
                start_new_session=True,
            )
        try:
            _await_ready(process, port, log, begun)
            yield Running(port, grpc_port, process, psutil.Process(process.pid), log)
        finally:
            stop(process, _STOP_SECONDS)


def _await_ready(process: subprocess.Popen[bytes], port: int, log: Path, begun: float) -> None:
    while time.monotonic() - begun < _START_SECONDS:
        if process.poll() is not None:
            break
        # The word in the log comes once all workers are there; the port answers with the first.
        if b"lupine: ready" in log.read_bytes() and ready(port):
            return
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-3000:]
    raise RuntimeError(f"the gateway did not get ready (exit {process.poll()}):\n{tail}")


def ready(port: int) -> bool:
    """Whether `/v2/health/ready` says yes."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/v2/health/ready", timeout=2.0)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK
