"""What each worker does with its gateway's folder and sockets, at the beginning of its life."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from service.errors import LupineError
from service.runner import grpc_port, lifeline, marks, roll
from service.runner.deployment import worker_count
from service.settings import Settings


def bound(settings: Settings) -> Settings:
    """The settings with the address that this worker really listens on.

    `bentoml serve` has flags of its own for it, and who may administer depends on it.
    """
    if "--fd" not in sys.argv:  # no worker of BentoML's: a test, or another server
        return settings
    descriptor = os.dup(int(sys.argv[sys.argv.index("--fd") + 1]))
    with socket.socket(fileno=descriptor) as listener:
        host, port = listener.getsockname()[:2]
    return settings.model_copy(
        update={"server": settings.server.model_copy(update={"host": host, "port": port})}
    )


def check_wires(settings: Settings) -> None:
    """Make sure, in a worker that listens, that nobody else takes its calls.

    Raises:
        ConfigurationError: somebody does.
    """
    grpc_port.check_ours(settings.server.host, settings.server.grpc_port)


def announce(settings: Settings, folder: Path) -> None:
    """Called by each worker that is ready and on the roll; the last one of the first says so."""
    if marks.there(folder, marks.ANNOUNCED):
        return
    ready = folder / "ready"
    ready.mkdir(mode=0o700, exist_ok=True)
    (ready / str(os.getpid())).touch()
    living = roll.present(folder) & {mark.name for mark in ready.iterdir()}
    if len(living) < worker_count(settings):
        return
    if marks.there(folder, marks.FAILED) or not marks.leave(folder, marks.ANNOUNCED):
        return
    server = settings.server
    sys.stderr.write(
        f"lupine: ready at http://{server.url_host}:{server.port} "
        f"and grpc://{server.url_host}:{server.grpc_port} "
        f"({settings.engine.kind}, {worker_count(settings)} workers)\n"
    )


def give_up(folder: Path, error: BaseException) -> NoReturn:
    """End this worker, which cannot start; and where none has served yet, the whole gateway.

    Later on the others serve, and the supervisor tries again.
    """
    reason = error.message if isinstance(error, LupineError) else repr(error)
    if marks.there(folder, marks.ANNOUNCED):
        sys.stderr.write(f"lupine: worker {os.getpid()} cannot start: {reason}\n")
    elif marks.leave(folder, marks.FAILED, reason):  # the first of them speaks
        sys.stderr.write(f"lupine: cannot start: {reason}\n")
        if not lifeline.is_gone(folder):
            os.kill(os.getppid(), signal.SIGTERM)
    sys.stderr.flush()
    # uvicorn and Starlette would print the stack twice. Nothing has been served yet.
    os._exit(1)
