"""The processes of one tritonserver: itself and the stubs of its Python backend.

It leads a session of its own, which its stubs stay in. Processes are told apart by number and start
time, never by name: the kernel gives a number away again, but not while a group bears it.

Source of the fields: proc(5), /proc/PID/stat.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_POLL_SECONDS = 0.02
_ENDED = frozenset("ZX")


class _Stat(NamedTuple):
    state: str
    session: int
    started: int


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """All processes of one session.

    Args:
        leader: the process id of the one that started it, and the session's number.
        started: when that was, in clock ticks since the machine's start.
    """

    leader: int
    started: int

    @classmethod
    def led_by(cls, pid: int) -> ProcessGroup:
        """The group of a process that runs, and leads a session.

        Raises:
            ProcessLookupError: there is no such process.
        """
        stat = _stat(pid)
        if stat is None:
            raise ProcessLookupError(f"there is no process {pid}")
        return cls(pid, stat.started)

    def members(self) -> list[int]:
        """The process ids of those that still run; zombies do not."""
        leader = _stat(self.leader)
        if leader is not None and leader.started != self.started:
            return []  # the number is another's: ours have all ended
        numbers = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()]
        return [pid for pid in numbers if self._has(pid)]

    async def kill(self, patience: float = 10.0) -> list[int]:
        """Kill them until none is left.

        Args:
            patience: seconds; a process that the kernel holds (disk, GPU) can outlast SIGKILL.

        Returns:
            The members that were still there after `patience`.
        """
        deadline = time.monotonic() + patience
        while members := self.members():
            if time.monotonic() > deadline:
                break
            for pid in members:
                self._kill(pid)
            await asyncio.sleep(_POLL_SECONDS)
        return members

    def _kill(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                if self._has(pid):  # looked at again: now the number cannot change hands
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)

    def _has(self, pid: int) -> bool:
        stat = _stat(pid)
        return (
            stat is not None
            and stat.session == self.leader
            and stat.started >= self.started
            and stat.state not in _ENDED
        )


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return _Stat(state=fields[0], session=int(fields[3]), started=int(fields[19]))
