"""The supervisor's signals: BentoML's supervisor is circus, and this adds what it lacks.

circus ignores a second signal, loses a first one that comes while it starts processes, waits a day
for the workers, always ends with status 0, and obeys whoever reaches its control port. It makes its
handlers after our last hook has run in its process, so `install` puts a subclass of its class in
place of it (`docs/adr/0006`). Only the supervisor imports this module.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from pathlib import Path
from typing import Any

import circus.controller  # type: ignore[import-untyped]  # ships no types
from circus.sighandler import SysHandler  # type: ignore[import-untyped]

from service.runner import marks

AGAIN_SECONDS = 1.0
"""A signal counts as a second one so long after the first. Terminals, `timeout`, systemd and
process managers signal the group and the process, within milliseconds."""

_RETRY_SECONDS = 0.1
_MAX_FOLDER = 80  # bytes
_HURRIED_SECONDS = 10.0  # a worker that a second signal does not move is killed after so long


class Signals(SysHandler):  # type: ignore[misc]  # the same
    """circus's handler of signals.

    Args:
        controller: circus's.
        run_dir: the private folder of this gateway.
        patience: seconds after which a worker that does not end is killed.
    """

    def __init__(self, controller: Any, *, run_dir: Path, patience: float) -> None:
        self._run_dir = run_dir
        self._patience = patience
        self._asked: float | None = None
        super().__init__(controller)
        _make_private(controller, run_dir)

    def quit(self) -> None:
        """End the gateway; a second time, without waiting for what is in flight."""
        now = time.monotonic()
        loop = self.controller.loop
        if self._asked is None:
            self._asked = now
            marks.leave(self._run_dir, marks.STOPPING)
            loop.add_callback_from_signal(self._end)
        elif now - self._asked >= AGAIN_SECONDS and marks.leave(self._run_dir, marks.HURRIED):
            loop.add_callback_from_signal(loop.call_later, _HURRIED_SECONDS, self._kill)

    def stop(self) -> None:
        """Let nothing interrupt what follows: circus is done, and Triton's end is bounded."""
        for number in self._old:
            signal.signal(number, lambda *_: None)

    def _end(self) -> None:
        arbiter = self.controller.arbiter
        for watcher in arbiter.watchers:
            watcher.graceful_timeout = self._patience
        if marks.there(self._run_dir, marks.FAILED):
            arbiter._exception = SystemExit(1)  # noqa: SLF001 - raised when all workers are gone
        super().quit()
        if not arbiter._stopping:  # noqa: SLF001 - else a command that is running has refused it
            self.controller.loop.call_later(_RETRY_SECONDS, self._end)

    def _kill(self) -> None:
        for watcher in self.controller.arbiter.watchers:
            for process in list(watcher.processes.values()):
                watcher.send_signal(process.pid, signal.SIGKILL)


def _make_private(controller: Any, run_dir: Path) -> None:
    """Move circus's control sockets out of reach: they know no credential, and start programs.

    BentoML has them listen on TCP ports of loopback, which every user of the host can reach.
    """
    folder = str(run_dir)
    if len(os.fsencode(folder)) > _MAX_FOLDER:  # what a socket's address has room for
        folder = f"/proc/self/fd/{os.open(run_dir, os.O_PATH | os.O_CLOEXEC)}"
    controller.endpoint = f"ipc://{folder}/circus.control"
    controller.arbiter.pubsub_endpoint = f"ipc://{folder}/circus.events"


def install(run_dir: Path, patience: float) -> None:
    """Handle the signals of the circus that BentoML is about to start in this process."""
    circus.controller.SysHandler = functools.partial(Signals, run_dir=run_dir, patience=patience)
