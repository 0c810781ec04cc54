"""GOAWAY, ahead of gRPC's own: clients are told to go before the server begins to shut down.

gRPC's core sends GOAWAY only once it shuts down, and from then on it cancels each request that it
has read and that Python has not taken up yet: under load some are lost in every stop. So this
frame, which core would send first as well, is written to the connections beside it; what still
arrives is answered, and core shuts down when nothing arrives any more (`docs/adr/0006`).

Source: RFC 9113, section 6.8: a server that ends gracefully sends a first GOAWAY with the highest
stream identifier, and a second one a round trip later, which is core's own.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Sequence
from contextlib import suppress

_FRAME = struct.pack(">HBBBLLL", 0, 8, 0x7, 0, 0, 2**31 - 1, 0)
"""Length 8 in 24 bits, type GOAWAY, no flags, stream 0; the highest stream, and NO_ERROR."""
_FLUSHED_SECONDS = 0.05
_POLL_SECONDS = 0.002
_LOOKS = 3


async def send(connections: Sequence[socket.socket]) -> None:
    """Write the frame to each connection whose kernel has sent all that core wrote.

    The caller sees to it that core writes no answers meanwhile: a frame must not come in the middle
    of another. A client that does not read is passed over: core tells it later.

    Args:
        connections: established; duplicates of core's own descriptors.
    """
    flushed = dict.fromkeys(connections, 0)  # how many looks in a row found it so
    end = asyncio.get_running_loop().time() + _FLUSHED_SECONDS
    while flushed and asyncio.get_running_loop().time() < end:
        for connection in list(flushed):
            flushed[connection] = 0 if _unsent(connection) else flushed[connection] + 1
            # After a first look core may be about to go on with a frame that it has half written.
            if flushed[connection] == _LOOKS:
                del flushed[connection]
                with suppress(OSError):  # it has gone by itself
                    connection.send(_FRAME, socket.MSG_DONTWAIT)
        await asyncio.sleep(_POLL_SECONDS)


def _unsent(connection: socket.socket) -> int:
    """Bytes that the other side has not acknowledged yet (tcp(7), SIOCOUTQ)."""
    count = array.array("i", [0])
    with suppress(OSError):
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, count)
    return count[0]
