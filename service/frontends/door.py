"""The end of a listening socket: no connection is lost in the kernel's queue.

Merely closed, a socket that other processes hold too keeps taking connections that nobody accepts,
and one that nobody else holds resets those in its queue. So new ones are kept out first, the queue
is emptied, and then the socket itself, not one more holder of it, stops to listen: who comes later
is refused at once and goes elsewhere (`docs/adr/0006`).
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

WINDOW_SECONDS = 0.1
"""Handshakes that had begun are complete after so long, in the same region."""

_POLL_SECONDS = 0.005
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python has no name for it
# Classic BPF, as in linux/filter.h: (code, jump if true, jump if false, operand). On a TCP socket
# it sees a packet from the TCP header on, whose byte 13 holds the flags. SYN is 2.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # ldb [13]
    (0x45, 0, 1, 2),  # jset #2
    (0x06, 0, 0, 0),  # ret #0: drop
    (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1: keep all of it
)
_ENDED = (errno.EINVAL, errno.EBADF, errno.ENOTCONN)


def bar(listener: socket.socket) -> bool:
    """Let no new connection begin; those that have begun go on. The caller's kernel tries again.

    Returns:
        Whether it worked: elsewhere than on Linux, or in a sandbox, there may be no such filter.
    """
    program = b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN)
    held = ctypes.create_string_buffer(program)
    argument = struct.pack("HL", len(_DROP_SYN), ctypes.addressof(held))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, argument)
    except OSError:
        return False
    return True


async def shut(
    listener: socket.socket,
    admit: Callable[[socket.socket], object],
    *,
    window: float = WINDOW_SECONDS,
) -> None:
    """End the listening, for every process that holds the socket. Several may do it at once.

    Args:
        listener: no event loop accepts on it any more. It stays open, and is the caller's.
        admit: called with each connection that was in the queue.
        window: seconds to wait for handshakes to complete; none where new ones cannot be barred.
    """
    listener.settimeout(0)
    clock = asyncio.get_running_loop().time
    end = clock() + (window if bar(listener) else 0.0)
    while _empty(listener, admit):
        if clock() >= end:
            # Nothing may come between the look at the empty queue and this.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            return
        await asyncio.sleep(_POLL_SECONDS)


def _empty(listener: socket.socket, admit: Callable[[socket.socket], object]) -> bool:
    """Admit all that wait. Returns whether the socket still listens."""
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return True
        except ConnectionAbortedError:
            continue  # it gave up while it waited
        except OSError as error:
            return error.errno not in _ENDED  # else too many open files, say: those wait
        admit(connection)
