"""The roll: which of the processes that serve together are there.

Each worker holds a lock on a file of its own. The kernel lets go of it when the process ends, by
whatever death.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from service.file_lock import is_held
from service.runner import marks
from service.runner.guardian import is_guarded

PATIENCE_SECONDS = 30.0
"""A process may be away for so long: the supervisor starts another within 10 s."""

_FOLDER = "workers"
_LOOK_SECONDS = 1.0


def enter(run_dir: Path) -> int:
    """Be there, until the descriptor is closed or this process ends."""
    folder = run_dir / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    staged = run_dir / f"{_FOLDER}.{os.getpid()}"
    descriptor = os.open(staged, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    staged.rename(folder / str(os.getpid()))  # never there without its lock
    return descriptor


def present(run_dir: Path) -> frozenset[str]:
    """The process ids of the workers that are there. Those that went are struck off."""
    found = set()
    with suppress(FileNotFoundError):
        for entry in (run_dir / _FOLDER).iterdir():
            if is_held(entry):
                found.add(entry.name)
            else:
                entry.unlink(missing_ok=True)
    return frozenset(found)


class Roll:
    """Whether everybody has been there lately.

    Args:
        run_dir: the private folder of this gateway.
        workers: how many there are to be.
        guarded: whether a guardian is to be there too.
        patience: seconds for which somebody may be away.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        workers: int,
        guarded: bool,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_dir = run_dir
        self._workers = workers
        self._guarded = guarded
        self._patience = patience
        self._clock = clock
        self._complete = clock()  # when everybody was last seen

    def alive(self) -> bool:
        """Whether nobody has been away for longer than the patience."""
        return self._clock() - self._complete <= self._patience

    def look(self) -> None:
        """See who is there now. While the gateway starts, or ends, nobody is missed."""
        serves = marks.there(self._run_dir, marks.ANNOUNCED)
        if not serves or marks.there(self._run_dir, marks.STOPPING):
            self._complete = self._clock()
            return
        everybody = len(present(self._run_dir)) >= self._workers
        if everybody and (not self._guarded or is_guarded(self._run_dir)):
            self._complete = self._clock()

    async def keep(self) -> None:
        """Look for ever. Cancelled when this worker ends: that others end too is no complaint."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)
