"""A real tritonserver for tests: on loopback and free ports, gone when the block ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.runner import stub_memory
from service.runner.runtime import assemble_backends
from tests.requires import require_triton_runtime

START_SECONDS = 90
STOP_SECONDS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTriton:
    """A server that is live: where it listens and where it writes."""

    http_port: int
    grpc_port: int
    metrics_port: int
    process: subprocess.Popen[bytes]
    shm_prefix: str
    log: Path

    @property
    def http(self) -> str:
        """HOST:PORT for `tritonclient.http`."""
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        """HOST:PORT for `tritonclient.grpc`."""
        return f"127.0.0.1:{self.grpc_port}"


@contextlib.contextmanager
def running_triton(
    repository: Path,
    *,
    scratch: Path,
    load_models: Iterable[str] = (),
    extra: Sequence[str] = (),
) -> Iterator[RunningTriton]:
    """Start a server on `repository`; skips where there is no runtime.

    Args:
        repository: the model repository.
        scratch: an own folder for backends, log and the server's working directory.
        load_models: what to load at start; "*" stands for all.
        extra: further flags.
    """
    runtime = require_triton_runtime()
    empty = scratch / "cwd"
    empty.mkdir(parents=True)
    backends = assemble_backends(runtime, scratch / "backends")
    http_port, grpc_port, metrics_port = free_ports(3)
    prefix = stub_memory.new_prefix()
    command = runtime.command(
        repository,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        backend_directory=backends,
        shm_prefix=prefix,
        load_models=load_models,
        extra=extra,
    )
    log = scratch / "triton.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=runtime.environment(),
            cwd=empty,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = RunningTriton(
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        process=process,
        shm_prefix=prefix,
        log=log,
    )
    try:
        _wait_until_live(running)
        yield running
    finally:
        _stop(process)
        stub_memory.sweep(prefix)


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_until_live(running: RunningTriton) -> None:
    deadline = time.monotonic() + START_SECONDS
    url = f"http://{running.http}/v2/health/live"
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            break
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(url, timeout=2),  # an error status raises
        ):
            return
        time.sleep(0.05)
    tail = running.log.read_text(errors="replace")[-4000:]
    raise RuntimeError(f"tritonserver did not come up (exit {running.process.poll()}):\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask, wait, then kill whatever is left of the session that the server leads."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
