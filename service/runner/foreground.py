"""`lupine triton`: the managed tritonserver alone, in the foreground, on ports of your choice."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import tempfile
from pathlib import Path

from service.errors import ConfigurationError
from service.repository import layout
from service.runner.keeper import Keeper, Timing, Wiring, require_runtime
from service.runner.log import Output
from service.runner.runtime import Runtime
from service.runner.tritonserver import HOST, Ports

_STDOUT = 1


def run_foreground(
    repository: Path,
    *,
    runtime_directory: Path,
    http_port: int = 8000,
    grpc_port: int = 8001,
    metrics_port: int = 8002,
    timing: Timing | None = None,
) -> int:
    """Run until SIGINT or SIGTERM; a second one does not wait for what is in flight.

    Args:
        repository: all its models are loaded.
        runtime_directory: where `make setup` built the runtime.
        http_port: on loopback, as the others.
        grpc_port: see `http_port`.
        metrics_port: see `http_port`.
        timing: how patient to be; tritonserver may take 30 s for what is in flight.

    Returns:
        The exit status: 0 after a signal, 1 where it cannot run, with the reason on stderr.
    """
    ports = Ports(http=http_port, grpc=grpc_port, metrics=metrics_port)
    try:
        layout.check_repository(repository)
        runtime = require_runtime(runtime_directory)
        _check_free(ports)
        with tempfile.TemporaryDirectory(prefix="lupine-triton-") as run_dir:
            asyncio.run(
                _run(Path(run_dir), repository, runtime, ports, timing or Timing(stop=35.0))
            )
    except ConfigurationError as error:
        sys.stderr.write(f"lupine triton: {error.message}\n")
        return 1
    return 0


async def _run(
    run_dir: Path, repository: Path, runtime: Runtime, ports: Ports, timing: Timing
) -> None:
    keeper = Keeper(
        run_dir,
        repository,
        runtime,
        wiring=Wiring(
            ports=lambda: ports,
            models_to_load=lambda: layout.model_names(repository),
            on_ready=lambda: None,
        ),
        output=Output(_STDOUT),
        timing=timing,
    )
    asked = False

    def on_signal() -> None:
        nonlocal asked
        if asked:
            keeper.hurry()
        else:
            keeper.stop()
        asked = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    await keeper.run()


def _check_free(ports: Ports) -> None:
    """Make sure that somebody else does not listen there: gRPC would not say.

    Raises:
        ConfigurationError: somebody does, or we may not.
    """
    for flag, port in (
        ("--http-port", ports.http),
        ("--grpc-port", ports.grpc),
        ("--metrics-port", ports.metrics),
    ):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
            except OSError as error:
                raise ConfigurationError(
                    f"port {port} on {HOST} cannot be had ({error.strerror}): "
                    f"choose another with {flag}"
                ) from None
