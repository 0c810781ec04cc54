"""`lupine triton`: the managed tritonserver alone, in the foreground, on ports of your choice."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path

from service.repository import layout
from service.runner.keeper import Keeper, Timing, Wiring, require_runtime
from service.runner.log import Output
from service.runner.tritonserver import Ports
from service.settings import Settings

_STDOUT = 1
_STOP_SECONDS = 35.0  # callers that we know nothing of may be waiting for answers


def run(settings: Settings, *, http_port: int, grpc_port: int, metrics_port: int) -> int:
    """Run until SIGINT or SIGTERM; a second one does not wait for what is in flight.

    It is restarted on the same ports when it dies. Whether they are free has been looked at before.

    Args:
        settings: name the repository, all of whose models are loaded, and the runtime.
        http_port: on loopback, as the others.
        grpc_port: see `http_port`.
        metrics_port: see `http_port`.

    Returns:
        The exit status, 0.

    Raises:
        ConfigurationError: there is no runtime or no repository, or it does not start, and why.
    """
    repository = settings.repository.path
    layout.check_repository(repository)
    runtime = require_runtime(settings.triton.runtime)
    ports = Ports(http=http_port, grpc=grpc_port, metrics=metrics_port)
    with tempfile.TemporaryDirectory(prefix="lupine-triton-") as run_dir:
        keeper = Keeper(
            Path(run_dir),
            repository,
            runtime,
            wiring=Wiring(
                ports=lambda: ports,
                models_to_load=lambda: layout.model_names(repository),
                on_ready=lambda: None,
            ),
            output=Output(_STDOUT),
            timing=Timing(start=settings.triton.start_seconds, stop=_STOP_SECONDS),
        )
        asyncio.run(_until_signalled(keeper))
    return 0


async def _until_signalled(keeper: Keeper) -> None:
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
