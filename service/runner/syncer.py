"""The supervisor's side of the registry sync: `lupine sync watch`, kept running beside the gateway.

It is started where MLFLOW_TRACKING_URI is set, and may end at any moment: what serves keeps
serving, and the next one goes on with what it finds.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from service.runner import lifeline
from service.runner.backoff import Backoff
from service.runner.launch import environment
from service.settings import REGISTRY, Settings

_STOP_SECONDS = 5.0


def wanted(settings: Settings) -> bool:
    """Whether a gateway syncs by itself: a registry is named, and nobody has switched it off."""
    return settings.registry.sync == "auto" and bool(os.environ.get(REGISTRY))


def start(run_dir: Path, settings: Settings) -> None:
    """Start it, and another whenever it ends, while the supervisor holds its lifeline."""
    syncer = _Syncer(run_dir, settings)
    threading.Thread(target=syncer.keep, name="sync-watch", daemon=True).start()
    atexit.register(syncer.stop)


class _Syncer:
    def __init__(self, run_dir: Path, settings: Settings) -> None:
        self._run_dir = run_dir
        self._repository = settings.repository.path.absolute()
        self._leaving = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        backoff, failures = Backoff(), 0
        while not self._over():
            began = time.monotonic()
            self._process = self._spawn()
            self._process.wait()
            failures = backoff.failures(failures, time.monotonic() - began)
            delay = backoff.delay(failures)
            if self._over():
                return
            sys.stderr.write(f"lupine: the registry sync ended; starting another in {delay:g} s\n")
            self._leaving.wait(delay)

    def stop(self) -> None:
        """At the end of the supervisor: it may be in the middle of anything."""
        self._leaving.set()
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _over(self) -> bool:
        return self._leaving.is_set() or lifeline.is_gone(self._run_dir, lifeline.SUPERVISOR)

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-P", "-m", "service.cli", "sync", "watch"),
            *("--repository", str(self._repository), "--beside", str(self._run_dir.absolute())),
        ]
        return subprocess.Popen(  # noqa: S603 - our own module, with our own interpreter
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            start_new_session=True,
        )
