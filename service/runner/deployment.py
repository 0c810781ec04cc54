"""What happens once per gateway: the private folder, the engine's choice, the guardian."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
from grpc import FutureTimeoutError, channel_ready_future, insecure_channel

from service import settings as settings_module
from service.errors import ConfigurationError
from service.repository import layout
from service.runner import launch, run_folder, runtime
from service.settings import Settings

_REACH_SECONDS = 10.0


def choose_engine(settings: Settings) -> tuple[str, str]:
    """The engine that will serve, and the reason in words.

    Raises:
        ConfigurationError: Triton is asked for and there is none.
    """
    kind = settings.engine.kind
    if settings.triton.url and kind in ("auto", "triton"):
        return "triton", f"Triton at {settings.triton.url}"
    if kind in ("onnx", "echo"):
        return kind, f"the {kind} engine, as asked for"
    missing = runtime.missing_reason(settings.triton.runtime)
    if missing is None:
        return "triton", f"the managed Triton in {settings.triton.runtime}"
    if kind == "triton":
        raise ConfigurationError(f"there is no managed Triton: {missing}")
    return "onnx", f"ONNX Runtime in process, for {missing}"


def worker_count(settings: Settings) -> int:
    """How many workers to run: as set; else one a core, or one where each would hold the models."""
    if settings.server.workers:
        return settings.server.workers
    try:
        kind, _ = choose_engine(settings)
    except ConfigurationError:
        return 1  # `deploy` says what is wrong
    return (psutil.cpu_count() or 1) if kind == "triton" else 1


def deploy() -> None:
    """Run in the supervisor, before any worker. Ends the process where serving is impossible."""
    try:
        settings, _ = settings_module.load()
        kind, why = choose_engine(settings)
        elsewhere = kind == "triton" and settings.triton.url
        if not elsewhere:  # a Triton elsewhere has its own repository
            layout.check_repository(settings.repository.path)
        folder = run_folder.prepare(settings)
        os.environ[settings_module.variable("engine.kind")] = kind
        what = "" if elsewhere else f" {settings.repository.path}"
        sys.stderr.write(f"lupine: serving{what} by {why}\n")
        if elsewhere:
            reach(settings.triton.url)
        forget = launch.hold_lifeline(folder)
        try:
            if kind == "triton" and not elsewhere:
                launch.start_guardian(folder, settings)
        except ConfigurationError:
            _clean(folder, forget)
            raise
        atexit.register(_clean, folder, forget)
    except ConfigurationError as error:
        sys.stderr.write(f"lupine: cannot start: {error.message}\n")
        raise SystemExit(1) from None


def _clean(folder: Path, forget: Callable[[], None]) -> None:
    forget()
    if not (folder / "guardian.pid").exists():  # else the guardian removes it, last
        shutil.rmtree(folder, ignore_errors=True)


def reach(url: str) -> None:
    """Make sure that a Triton elsewhere answers.

    Raises:
        ConfigurationError: none of the addresses in `url` does.
    """
    for address in url.split(","):
        with insecure_channel(address.strip()) as channel:
            try:
                channel_ready_future(channel).result(timeout=_REACH_SECONDS)
            except FutureTimeoutError:
                continue
            return
    raise ConfigurationError(
        f"no Triton answers gRPC at {url} within {_REACH_SECONDS:g} s: check --triton-url, "
        "which takes the gRPC port (8001 by default)"
    )


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


def announce(settings: Settings, folder: Path) -> None:
    """Called by each worker that is ready; the last one to be ready for the first time says so."""
    ready = folder / "ready"
    ready.mkdir(mode=0o700, exist_ok=True)
    (ready / str(os.getpid())).touch()
    if len(list(ready.iterdir())) < worker_count(settings):
        return
    try:
        (folder / "announced").touch(exist_ok=False)
    except FileExistsError:
        return
    host = f"[{settings.server.host}]" if ":" in settings.server.host else settings.server.host
    sys.stderr.write(
        f"lupine: ready at http://{host}:{settings.server.port} "
        f"({settings.engine.kind}, {worker_count(settings)} workers)\n"
    )
