"""Holds grpcio to the words that `grpc_caller` reads fates from.

A server of a hundred lines ends the connection of a request in each possible way. Where a version
of grpcio tells of one in other words, the count of lost requests would be a guess: better no count.
Source of the frames: RFC 9113, sections 4.1, 6.4 and 6.8.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping

from benchmarks.wires.exchange import Array, Fate, Request
from benchmarks.wires.grpc_caller import GrpcCaller, channel

_DATA, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 3, 4, 6, 7
_ACK = _END_STREAM = 1
_REFUSED_STREAM, _CANCEL = 7, 8
_PREFACE = 24

WAYS: Mapping[str, Fate] = {
    "GOAWAY before this stream": Fate.UNPROCESSED,
    "GOAWAY before this stream, and closed": Fate.UNPROCESSED,
    "GOAWAY after this stream, and closed": Fate.LOST,
    "GOAWAY of all streams, and closed": Fate.LOST,
    "closed": Fate.LOST,
    "reset": Fate.LOST,
    "RST_STREAM, cancel": Fate.LOST,
    "RST_STREAM, refused": Fate.LOST,  # grpcio tells no reason that would excuse it
}


async def misread() -> list[str]:
    """The ways to end a connection that this grpcio tells of in other words; none is well."""
    found = []
    for way, fate in WAYS.items():
        server = await asyncio.start_server(_Ending(way), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with channel(port) as through:
            outcome = await GrpcCaller(through).ask(_REQUEST)
            if outcome.fate is not fate:
                found.append(f"{way}: {outcome.fate} ({outcome.text}), not {fate}")
        server.close()
    async with channel(port) as through:
        outcome = await GrpcCaller(through).ask(_REQUEST)
        if (outcome.fate, outcome.kind) != (Fate.UNSENT, "connection refused"):
            found.append(f"nobody listens: {outcome.fate} ({outcome.text})")
    return found


_NOTHING: Mapping[str, Array] = {}
_REQUEST = Request("1", "mlp", _NOTHING, _NOTHING)


class _Ending:
    """Takes a connection, and ends it in its way once a request is complete."""

    def __init__(self, way: str) -> None:
        self._way = way

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(_PREFACE)
            writer.write(_frame(_SETTINGS, 0, 0))
            while True:
                head = await reader.readexactly(9)
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
                payload = await reader.readexactly(int.from_bytes(head[:3]))
                if kind in (_SETTINGS, _PING) and not flags & _ACK:
                    writer.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
                elif kind == _DATA and flags & _END_STREAM:
                    self._end(writer, stream)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _end(self, writer: asyncio.StreamWriter, stream: int) -> None:
        match self._way.partition(",")[0]:
            case "GOAWAY before this stream":
                writer.write(_goaway(0))
            case "GOAWAY after this stream":
                writer.write(_goaway(stream))
            case "GOAWAY of all streams":
                writer.write(_goaway(2**31 - 1))
            case "RST_STREAM":
                code = _CANCEL if self._way.endswith("cancel") else _REFUSED_STREAM
                writer.write(_frame(_RST_STREAM, 0, stream, struct.pack(">I", code)))
            case "reset":
                linger = struct.pack("ii", 1, 0)  # close answers with a reset
                connection: socket.socket = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
        if self._way.endswith("closed"):
            writer.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4)
    return head + payload


def _goaway(last: int) -> bytes:
    return _frame(_GOAWAY, 0, 0, struct.pack(">II", last, 0) + b"Server shutdown")
