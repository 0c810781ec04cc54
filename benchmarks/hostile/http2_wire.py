"""A raw HTTP/2 connection: it sends what no library would, and counts what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from h2.errors import ErrorCodes
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(slots=True)
class Seen:
    """What the server did to an attacker, over all its connections."""

    connections: int = 0
    closed: int = 0  # by the server
    sent: int = 0  # bytes
    received: int = 0  # bytes
    statuses: Counter[str] = field(default_factory=Counter)  # gRPC statuses, and HTTP's but 200
    resets: Counter[str] = field(default_factory=Counter)
    goaways: Counter[str] = field(default_factory=Counter)


class Wire:
    """One connection. Acknowledges SETTINGS and PING unless it is deaf.

    Args:
        seen: where it counts.
        reader: from the server; what a deaf wire does not read stays in the sockets.
        writer: to the server.
    """

    def __init__(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._seen = seen
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder()
        self._listening: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()

    @classmethod
    async def open(
        cls,
        address: tuple[str, int],
        seen: Seen,
        *,
        preface: bool = True,
        deaf: bool = False,
        settings: Mapping[int, int] | None = None,
    ) -> Wire:
        """Connect, and say the preface where that is wanted."""
        reader, writer = await asyncio.open_connection(*address, limit=1 << 16)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seen.connections += 1
        wire = cls(seen, reader, writer)
        if not deaf:
            wire._listening = asyncio.create_task(wire._listen())
        if preface:
            await wire.send(PREFACE + SettingsFrame(0, settings=dict(settings or {})).serialize())
        return wire

    async def send(self, data: bytes | Frame, *rest: Frame) -> None:
        """Write, as fast as the server reads.

        Raises:
            ConnectionError: the server has closed.
        """
        first = data if isinstance(data, bytes) else data.serialize()
        out = first + b"".join(frame.serialize() for frame in rest)
        if self._gone.is_set():
            raise ConnectionResetError("closed by the server")
        self._writer.write(out)
        self._seen.sent += len(out)
        await self._writer.drain()
        await asyncio.sleep(0)  # what has come is read before the next writing fails

    async def hold(self, until: float) -> None:
        """Stay connected until then, or until the server ends it."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), max(until - time.monotonic(), 0.01))

    async def close(self) -> None:
        """Cut the connection."""
        if self._writer.is_closing():
            await self.hold(time.monotonic() + 0.1)
        if self._listening is not None:
            self._listening.cancel()
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _listen(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                self._seen.received += 9
                frame, length = Frame.parse_frame_header(memoryview(head))
                body = await self._reader.readexactly(length)
                self._seen.received += length
                frame.parse_body(memoryview(body))
                self._take(frame)
        except (OSError, asyncio.IncompleteReadError, HyperframeError, HPACKError):
            self._seen.closed += 1
        finally:
            self._gone.set()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self._reply(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self._reply(PingFrame(0, frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, GoAwayFrame):
            text = frame.additional_data.decode(errors="replace")
            self._seen.goaways[f"{_error(frame.error_code)} {text}".strip()] += 1
        elif isinstance(frame, RstStreamFrame):
            self._seen.resets[_error(frame.error_code)] += 1
        elif isinstance(frame, HeadersFrame):
            self._status(frame)

    def _status(self, frame: HeadersFrame) -> None:
        found = {_octets(n): _octets(v) for n, v in self._decoder.decode(frame.data, raw=True)}
        if (http := found.get(b":status", b"200")) != b"200":
            self._seen.statuses[f"HTTP {http.decode()}"] += 1
        if status := found.get(b"grpc-status"):
            text = unquote_to_bytes(found.get(b"grpc-message", b"")).decode(errors="replace")
            self._seen.statuses[f"{status.decode()} {text[:80]}".strip()] += 1

    def _reply(self, frame: Frame) -> None:
        if not self._writer.is_closing():
            self._writer.write(frame.serialize())


def _octets(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _error(code: int) -> str:
    return ErrorCodes(code).name if code in set(ErrorCodes) else str(code)


def block(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A header block that means the same wherever it stands: it refers to no earlier one."""
    return bytes(Encoder().encode(list(headers)))


def head(stream: int, data: bytes, *, ends: bool = False, whole: bool = True) -> HeadersFrame:
    """A HEADERS frame."""
    flags = (["END_STREAM"] if ends else []) + (["END_HEADERS"] if whole else [])
    return HeadersFrame(stream, data, flags=flags)


def body(stream: int, data: bytes, *, ends: bool = True) -> DataFrame:
    """A DATA frame."""
    return DataFrame(stream, data, flags=["END_STREAM"] if ends else [])
