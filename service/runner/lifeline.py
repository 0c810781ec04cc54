"""Lifelines: FIFOs that tell who is still there, by whatever death the others went.

A process that lives holds the writing end of one. The kernel closes it when the process ends, even
by SIGKILL, and whoever reads then sees the end of the file. Nothing is ever written.

`SUPERVISOR` is held by BentoML's supervisor and watched by the guardian and every worker. `WORKERS`
is held by every worker and watched by the guardian, which stops tritonserver only after the last.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

SUPERVISOR = "supervisor.lifeline"
WORKERS = "workers.lifeline"


class Held:
    """A writing end. It is let go by `close`, or by the end of the process.

    Args:
        descriptor: the open file; not inherited by programs that this process starts.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        """Let go; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def create(run_dir: Path) -> None:
    """Make both lifelines, in place of what an earlier gateway left in the folder."""
    for name in (SUPERVISOR, WORKERS):
        (run_dir / name).unlink(missing_ok=True)
        os.mkfifo(run_dir / name, 0o600)


def hold(run_dir: Path, name: str) -> Held:
    """Hold a lifeline.

    Opened for reading too: Linux then needs no reader to be there, so a worker can start while the
    guardian is being replaced. A reader more changes nothing, since only writers are waited for.

    Raises:
        FileNotFoundError: the gateway has ended and taken its folder away.
    """
    return Held(os.open(run_dir / name, os.O_RDWR | os.O_CLOEXEC))


def is_gone(run_dir: Path, name: str = SUPERVISOR) -> bool:
    """Whether nobody holds the lifeline now."""
    try:
        descriptor = _open(run_dir, name)
    except FileNotFoundError:
        return True
    try:
        return _ended(descriptor)
    finally:
        os.close(descriptor)


async def gone(run_dir: Path, name: str = SUPERVISOR) -> None:
    """Return when nobody holds the lifeline any more; at once where nobody does, or it is away."""
    try:
        descriptor = _open(run_dir, name)
    except FileNotFoundError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def look() -> None:
        if _ended(descriptor):
            loop.remove_reader(descriptor)
            ended.set()

    try:
        # What ends between this look and the watch is still seen: an end of file stays one.
        look()
        if not ended.is_set():
            loop.add_reader(descriptor, look)
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _open(run_dir: Path, name: str) -> int:
    return os.open(run_dir / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def _ended(descriptor: int) -> bool:
    """Polling alone would not do: for a reader who came after the last writer it never reports."""
    with suppress(BlockingIOError):
        return os.read(descriptor, 1) == b""
    return False
