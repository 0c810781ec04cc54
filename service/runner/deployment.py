"""What happens once per gateway: the engine's choice, the private folder, the guardian."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
from grpc import FutureTimeoutError, channel_ready_future, insecure_channel

from service import settings as settings_module
from service.errors import ConfigurationError
from service.repository import layout
from service.runner import bundle, grpc_port, guardian, launch, ports, run_folder, runtime, syncer
from service.settings import Settings

_REACH_SECONDS = 10.0
_STOP_SECONDS = 10.0  # for what a worker does after its drain


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
        settings = bundle.load()
        folder = run_folder.prepare(settings)
        with ExitStack() as held:
            held.callback(_clean, folder)
            _start(settings, folder, held)
            atexit.register(held.pop_all().close)
    except ConfigurationError as error:
        sys.stderr.write(f"lupine: cannot start: {error.message}\n")
        raise SystemExit(1) from None


def _start(settings: Settings, folder: Path, held: ExitStack) -> None:
    os.environ |= settings_module.exported(settings)  # workers run in another folder
    kind, why = choose_engine(settings)
    elsewhere = kind == "triton" and settings.triton.url
    if not elsewhere:  # a Triton elsewhere has its own repository
        layout.check_repository(settings.repository.path)
    grpc_port.check_apart(settings)
    os.environ[settings_module.variable("engine.kind")] = kind
    # Its core writes a line for many a broken frame, as fast as a client sends them.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    what = "" if elsewhere else f" {settings.repository.path}"
    sys.stderr.write(f"lupine: serving{what} by {why}\n")
    if elsewhere:
        reach(settings.triton.url)
    held.callback(launch.hold_lifeline(folder))
    address = ports.numeric_address(settings.server.host)
    held.callback(grpc_port.reserve(address, settings.server.grpc_port).close)
    if kind == "triton" and not elsewhere:
        launch.start_guardian(folder, settings)
    if syncer.wanted(settings) and not elsewhere:
        syncer.start(folder, settings)
    _handle_signals(folder, settings)


def _handle_signals(folder: Path, settings: Settings) -> None:
    from service.runner import supervision  # noqa: PLC0415 - the workers do without circus

    supervision.install(folder, settings.server.grace_seconds + _STOP_SECONDS)


def _clean(folder: Path) -> None:
    if not (folder / guardian.LOCK).exists():  # else the guardian removes it, last
        run_folder.abandon(folder)
    gc.freeze()  # the process ends: to look for garbage once more would take it two seconds


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


def needs_guardian(settings: Settings) -> bool:
    """Whether a guardian keeps a tritonserver for this gateway, its engine having been chosen."""
    return settings.engine.kind == "triton" and not settings.triton.url
