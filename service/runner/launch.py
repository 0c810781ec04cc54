"""The supervisor's side of the guardian: it is started, awaited, and started again when it dies."""

from __future__ import annotations

import atexit
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.errors import ConfigurationError
from service.runner import endpoint, lifeline
from service.runner.backoff import Backoff
from service.runner.guardian import LOCK, READY, is_guarded
from service.runner.keeper import Timing
from service.settings import Settings

_MARGIN_SECONDS = 10.0
_REPORT_BYTES = 8192
_PACKAGE_FOLDER = Path(__file__).parents[2]  # the folder that holds the package `service`


def hold_lifeline(run_dir: Path) -> Callable[[], None]:
    """Make the lifelines of a gateway, and hold the supervisor's.

    Args:
        run_dir: the private folder of this gateway.

    Returns:
        A function that lets go. The end of this process does the same.

    Raises:
        ConfigurationError: another gateway uses the folder.
    """
    if is_guarded(run_dir) or not lifeline.is_gone(run_dir, lifeline.SUPERVISOR):
        raise ConfigurationError(f"another gateway uses the run folder {run_dir}")
    lifeline.create(run_dir)
    return lifeline.hold(run_dir, lifeline.SUPERVISOR).close


def environment() -> dict[str, str]:
    """For a process that runs a module of this package by `python -P -m`.

    A built bento is imported from its own folder; -P: the working directory is not looked at.
    """
    paths = [str(_PACKAGE_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def start_guardian(run_dir: Path, settings: Settings) -> None:
    """Start the guardian, and return when tritonserver is ready.

    The supervisor must hold its lifeline: while it does, a guardian that dies is replaced. A
    supervisor that ends in peace waits for the guardian to end.

    Raises:
        ConfigurationError: tritonserver does not start, and why.
    """
    watch = _Watch(run_dir, settings)
    guardian = watch.start_first()
    thread = threading.Thread(
        target=watch.keep, args=(guardian,), name="guardian-watch", daemon=True
    )
    thread.start()
    atexit.register(watch.see_off, thread)


@dataclass(frozen=True, slots=True)
class _Watch:
    run_dir: Path
    settings: Settings

    def start_first(self) -> subprocess.Popen[bytes]:
        patience = self.settings.triton.start_seconds
        reader, writer = os.pipe()
        try:
            guardian = self._spawn(writer)
        finally:
            os.close(writer)
        try:  # a start that fails late is followed by one more
            told, _, _ = select.select([reader], [], [], patience * 2 + _MARGIN_SECONDS)
            outcome = os.read(reader, _REPORT_BYTES) if told else b"its guardian does not answer"
        finally:
            os.close(reader)
        if outcome == READY.encode():
            return guardian
        guardian.kill()  # it is ending, or stuck; tritonserver dies with it
        guardian.wait()
        (self.run_dir / LOCK).unlink(missing_ok=True)  # this process cleans up, then
        reason = outcome.decode() or "its guardian ended at once; see the log above"
        raise ConfigurationError(f"the managed Triton does not start: {reason}")

    def keep(self, guardian: subprocess.Popen[bytes]) -> None:
        """Replace a guardian that dies, for as long as this process holds the lifeline."""
        backoff, failures = Backoff(), 0
        while True:
            began = time.monotonic()
            guardian.wait()  # BentoML's circus may reap it first: the status means nothing here
            endpoint.remove(self.run_dir)  # tritonserver has died with it
            failures = backoff.failures(failures, time.monotonic() - began)
            if self._leaving():
                return
            time.sleep(backoff.delay(failures))
            if self._leaving():
                return
            sys.stderr.write("lupine: the guardian of tritonserver died; starting another\n")
            guardian = self._spawn(None)

    def see_off(self, thread: threading.Thread) -> None:
        """At the end of this process: wait until tritonserver is gone."""
        if self._leaving():
            thread.join(self._drain_seconds() + Timing().stop + _MARGIN_SECONDS)

    def _leaving(self) -> bool:
        return lifeline.is_gone(self.run_dir, lifeline.SUPERVISOR)

    def _drain_seconds(self) -> float:
        return self.settings.server.grace_seconds + _MARGIN_SECONDS

    def _spawn(self, report: int | None) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-P", "-m", "service.runner.guardian"),
            *("--run-dir", str(self.run_dir.absolute())),
            *("--repository", str(self.settings.repository.path.absolute())),
            *("--runtime", str(self.settings.triton.runtime.absolute())),
            *("--start-seconds", str(self.settings.triton.start_seconds)),
            *("--drain-seconds", str(self._drain_seconds())),
            *(() if report is None else ("--report-fd", str(report))),
        ]
        return subprocess.Popen(  # noqa: S603 - our own module, with our own interpreter
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            pass_fds=() if report is None else (report,),
            start_new_session=True,
        )
