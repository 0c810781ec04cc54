"""A file in shared memory through which tensors go to a Triton on this host.

Its name tells whose it is: `lupine-slot-<gateway>-<worker>-<number>`. The kernel's lock on it tells
whether that worker lives. Invariant: while Triton may know the file as a region, the name is there,
so that whoever sweeps after a worker that was killed finds all that is to be unregistered. The
region's name is the file's.

The guardian of a gateway's Triton holds `lupine-slot-<gateway>-guardian` in the same way. While it
does, that gateway's files are its own business.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from service.file_lock import is_held

FOLDER = Path("/dev/shm")  # noqa: S108 - where POSIX has it, and Triton looks
_PREFIX = "lupine-slot-"
_GUARDIAN = "guardian"
_NAME = re.compile(rf"{_PREFIX}([0-9a-f]{{12}})-(?:{_GUARDIAN}|[0-9a-f]{{8}}-\d+)")
_ROOM = 0.5  # of the shared memory stays free: Triton's Python stubs live there too
ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


def gateway_id(run_dir: Path) -> str:
    """What the processes of one gateway know each other by, and no other gateway shares."""
    found = run_dir.stat()
    text = f"{run_dir.resolve()} {found.st_dev} {found.st_ino}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Worker:
    """Who owns slots.

    Args:
        gateway: its `gateway_id`.
        token: 8 hexadecimal digits that no other worker has had.
    """

    gateway: str
    token: str


class SlotFile:
    """One file, mapped and locked.

    Args:
        name: in the folder, and of the region.
        size: bytes.
        descriptor: open and locked.
        memory: all of it.
        folder: where it lies.
    """

    def __init__(
        self, name: str, size: int, descriptor: int, memory: mmap.mmap, folder: Path
    ) -> None:
        self.name = name
        self.size = size
        self._descriptor = descriptor
        self._memory: mmap.mmap | None = memory
        self._path = folder / name

    @classmethod
    def create(cls, owner: Worker, number: int, size: int, folder: Path = FOLDER) -> Self:
        """Make one, private, with all its memory there already. May take milliseconds.

        Raises:
            OSError: it cannot be made: no shared memory, too little of it, or the name is taken.
        """
        left = os.statvfs(folder)
        if left.f_bavail * left.f_frsize - size < left.f_blocks * left.f_frsize * _ROOM:
            raise OSError(f"{folder} has no {size} bytes to spare")
        name = f"{_PREFIX}{owner.gateway}-{owner.token}-{number}"
        descriptor = _locked(folder, name, size)
        try:
            # What is lacking later would be a SIGBUS: hence `posix_fallocate` and MAP_POPULATE.
            memory = mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        except BaseException:
            (folder / name).unlink()
            os.close(descriptor)
            raise
        return cls(name, size, descriptor, memory, folder)

    def view(self, offset: int, shape: Sequence[int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """A part of it as an array, to be written into."""
        assert self._memory is not None  # noqa: S101 - nobody asks a slot that has been let go
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(self._memory, dtype, count, offset).reshape(shape)

    def remove(self) -> None:
        """Take it away; Triton cannot read it, or keeps a mapping of its own. Safe to repeat."""
        if self._memory is not None:
            self._path.unlink(missing_ok=True)
            self.leave()

    def leave(self) -> None:
        """Let go of it, and leave the name to whoever sweeps. Safe to repeat."""
        memory, self._memory = self._memory, None
        if memory is None:
            return
        # A mapping holds a descriptor, and so the lock, of its own.
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)
        with suppress(BufferError):  # somebody holds a view still: it ends with that
            memory.close()


class Guard:
    """Held by the guardian of a gateway, until `close` or its end."""

    def __init__(self, gateway: str, folder: Path = FOLDER) -> None:
        """Hold it.

        Raises:
            OSError: there is no shared memory, or another guardian of the gateway lives.
        """
        self._path = folder / f"{_PREFIX}{gateway}-{_GUARDIAN}"
        with suppress(FileNotFoundError):
            if not is_held(self._path):  # a guardian that was killed
                self._path.unlink()
        self._descriptor: int | None = _locked(folder, self._path.name, 0)

    def close(self) -> None:
        """Let go. Safe to repeat."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def of_gateway(gateway: str, folder: Path = FOLDER) -> list[Path]:
    """All slot files of a gateway, whether their owners live or not."""
    guard = f"{_PREFIX}{gateway}-{_GUARDIAN}"
    return [path for path in _all(folder).get(gateway, ()) if path.name != guard]


def orphans(apart_from: str, folder: Path = FOLDER) -> list[Path]:
    """The files of other gateways that neither their owner nor a guardian looks after any more.

    A Triton ends with its guardian: no server knows them.
    """
    found: list[Path] = []
    for gateway, paths in _all(folder).items():
        guard = folder / f"{_PREFIX}{gateway}-{_GUARDIAN}"
        if gateway != apart_from and not is_held(guard):
            found += [path for path in paths if not is_held(path)]
    return found


def _all(folder: Path) -> dict[str, list[Path]]:
    """Every file of ours, this user's alone, by gateway."""
    found: dict[str, list[Path]] = {}
    if not folder.is_dir():
        return found
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            with suppress(FileNotFoundError):  # it went meanwhile
                if match and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                    found.setdefault(match[1], []).append(Path(entry.path))
    return found


def _locked(folder: Path, name: str, size: int) -> int:
    """A new file that has been locked before it has its name: nobody takes it for an orphan."""
    descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if size:
            os.posix_fallocate(descriptor, 0, size)
        opened = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # by a folder's descriptor: only so does Python follow the link
            os.link(str(descriptor), folder / name, src_dir_fd=opened, follow_symlinks=True)
        finally:
            os.close(opened)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
