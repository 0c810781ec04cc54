"""The only parent of tritonserver: a process that ends by lifelines alone.

`launch` starts `python -m service.runner.guardian` as a child of BentoML's supervisor. SIGINT and
SIGTERM do nothing to it: a terminal or BentoML sends them to every child at once, and tritonserver
would stop under the requests that the workers are still draining. When the supervisor is gone, by
whatever death, it waits for the workers, stops tritonserver and removes the run folder.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from service.errors import ConfigurationError
from service.file_lock import is_held
from service.repository import layout
from service.repository.ledger import Ledger
from service.runner import lifeline
from service.runner.keeper import Keeper, Timing, Wiring, require_runtime
from service.runner.log import Output
from service.runner.slot_sweep import SlotSweep
from service.runner.tritonserver import Ports

LOCK = "guardian.pid"
READY = "ready"
_STDOUT = 1
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Report:
    """Tells the launcher, once, how the first start went.

    Args:
        descriptor: the writing end of a pipe; None where nobody waits.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def tell(self, what: str) -> None:
        """Tell it; a second call does nothing."""
        if self._descriptor is not None:
            with suppress(BrokenPipeError):
                os.write(self._descriptor, what.encode())
            os.close(self._descriptor)
            self._descriptor = None


def lock(run_dir: Path) -> int:
    """Become the guardian of a run folder. The kernel lets go of it when this process ends.

    Raises:
        ConfigurationError: it has one.
    """
    descriptor = os.open(run_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigurationError(f"another gateway uses the run folder {run_dir}") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def is_guarded(run_dir: Path) -> bool:
    """Whether a guardian is at work in a run folder."""
    return is_held(run_dir / LOCK)


async def guard(options: argparse.Namespace, report: Report) -> None:
    """Keep tritonserver running until supervisor and workers are gone.

    Raises:
        ConfigurationError: there is no runtime, or it does not start, and why.
    """
    run_dir: Path = options.run_dir
    runtime = require_runtime(options.runtime)
    ledger = Ledger(run_dir)

    def on_ready() -> None:
        ledger.bump()
        report.tell(READY)

    keeper = Keeper(
        run_dir,
        options.repository,
        runtime,
        wiring=Wiring(
            ports=Ports.free,
            models_to_load=lambda: ledger.wanted(layout.model_names(options.repository)),
            on_ready=on_ready,
            slots=SlotSweep.of(run_dir),
        ),
        output=Output(_STDOUT),
        timing=Timing(start=options.start_seconds, stop=options.stop_seconds),
    )
    alone = asyncio.ensure_future(_alone(keeper, run_dir, options.drain_seconds))
    alone.add_done_callback(lambda _: keeper.stop())
    try:
        await keeper.run()
    finally:
        alone.cancel()


async def _alone(keeper: Keeper, run_dir: Path, patience: float) -> None:
    """Return when the supervisor and then all workers are gone, the latter within `patience`."""
    await lifeline.gone(run_dir, lifeline.SUPERVISOR)
    keeper.say("the supervisor is gone; tritonserver stops after the last worker")
    try:
        async with asyncio.timeout(patience):
            await lifeline.gone(run_dir, lifeline.WORKERS)
    except TimeoutError:
        keeper.say(f"workers are still there after {patience:g} s; tritonserver stops all the same")


def main(arguments: Sequence[str] | None = None) -> int:
    """The process. Returns the exit status."""
    for number in _IGNORED:  # a handler, unlike SIG_IGN, is not inherited by tritonserver
        signal.signal(number, lambda *_: None)
    parser = argparse.ArgumentParser(prog="python -m service.runner.guardian")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--runtime", type=Path, required=True)
    parser.add_argument("--start-seconds", type=float, default=120.0)
    parser.add_argument("--drain-seconds", type=float, default=60.0)
    parser.add_argument("--stop-seconds", type=float, default=15.0)
    parser.add_argument("--report-fd", type=int)
    options = parser.parse_args(arguments)
    report = Report(options.report_fd)
    try:
        held = lock(options.run_dir)
        try:
            asyncio.run(guard(options, report))
        except ConfigurationError:
            (options.run_dir / LOCK).unlink(missing_ok=True)  # the supervisor cleans up, then
            raise
        shutil.rmtree(options.run_dir, ignore_errors=True)
        os.close(held)
    except ConfigurationError as error:
        Output(_STDOUT).write("guardian", error.message)
        report.tell(error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
