"""This process's own TCP sockets on a port, whichever library opened them."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress


def listeners(port: int) -> AbstractContextManager[list[socket.socket]]:
    """Duplicates of those that listen; closed at the end of the block."""
    return _found(port, listening=True)


def connections(port: int) -> AbstractContextManager[list[socket.socket]]:
    """Duplicates of those that were accepted there; closed at the end of the block."""
    return _found(port, listening=False)


@contextmanager
def _found(port: int, *, listening: bool) -> Iterator[list[socket.socket]]:
    found = [
        each
        for descriptor in _descriptors()
        if (each := _duplicate(descriptor)) is not None and _keep(each, port, listening=listening)
    ]
    try:
        yield found
    finally:
        for each in found:
            each.close()


def _descriptors() -> list[int]:
    found = []
    with suppress(FileNotFoundError):  # there is no /proc
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are numbers, not paths
            with suppress(OSError):
                if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    found.append(int(name))
    return found


def _duplicate(descriptor: int) -> socket.socket | None:
    try:
        copy = os.dup(descriptor)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None


def _keep(found: socket.socket, port: int, *, listening: bool) -> bool:
    with suppress(OSError):
        if (
            found.family in (socket.AF_INET, socket.AF_INET6)
            and bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) is listening
            and found.getsockname()[1] == port
        ):
            return True
    found.close()
    return False
