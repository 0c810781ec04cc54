"""The other end of an HTTP/2 connection: an application that writes down what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

from service.frontends.http2.connection import Connection
from service.frontends.http2.frames import PREFACE
from service.frontends.http2.headers import Fields
from service.frontends.http2.stream import Stream

REQUEST = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a/b"),
    (b":authority", b"gateway"),
)
GREETING = PREFACE + SettingsFrame(0).serialize()
MAX_HEADER_BYTES = 4096


class Head:
    """The fields of a request, as they came."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        given = dict(fields).get(b"content-length")
        self.length = None if given is None else int(given)


class Recording:
    """Writes down each request, and how it goes on.

    Args:
        reads: whether what arrives is read at once, so that the window opens again.
    """

    def __init__(self, *, reads: bool = True) -> None:
        self.reads = reads
        self.told: list[tuple[Any, ...]] = []
        self.streams: dict[int, Stream] = {}

    def read(self, fields: Fields, _size: int) -> Head:
        """As HTTP/2's application."""
        return Head([(bytes(name), bytes(value)) for name, value in fields])

    def open(self, connection: Connection[Head], stream: Stream, head: Head) -> _Receiver:
        """As HTTP/2's application."""
        self.streams[stream.number] = stream
        self.told.append(("open", stream.number, tuple(head.fields)))
        return _Receiver(self, connection, stream)


class _Receiver:
    def __init__(self, recording: Recording, connection: Connection[Head], stream: Stream) -> None:
        self._recording = recording
        self._connection = connection
        self._stream = stream

    def data(self, data: bytes, *, ends: bool) -> None:
        self._recording.told.append(("data", self._stream.number, data, ends))
        if self._recording.reads:
            self._connection.consumed(self._stream, len(data))

    def gone(self) -> None:
        self._recording.told.append(("gone", self._stream.number))

    def writable(self) -> None:
        self._recording.told.append(("writable", self._stream.number))


class Server:
    """A connection under test, and what it has sent.

    Args:
        reads: as `Recording` has it.
        greeted: whether the client's preface and settings have come.
    """

    def __init__(self, *, reads: bool = True, greeted: bool = True) -> None:
        self.now = 1000.0
        self.application = Recording(reads=reads)
        self.connection: Connection[Head] = Connection(
            self.application, lambda: None, max_header_bytes=MAX_HEADER_BYTES, now=self.now
        )
        self._decoder = Decoder()
        self.greeting = self.sent()
        if greeted:
            self.receive(GREETING)

    @property
    def told(self) -> list[tuple[Any, ...]]:
        """What the application has been told."""
        return self.application.told

    def receive(self, data: bytes | Frame, *rest: Frame) -> list[Frame]:
        """Bytes come; returns the frames that are sent."""
        first = data if isinstance(data, bytes) else data.serialize()
        self.connection.receive(first + b"".join(f.serialize() for f in rest), self.now)
        return self.sent()

    def sent(self) -> list[Frame]:
        """The frames that are sent by now."""
        data = b""
        while parts := self.connection.out.take():
            data += b"".join(parts)
        return parsed(data)

    def fields(self, frame: Frame) -> dict[bytes, bytes]:
        """The fields of a HEADERS frame that was sent; each is decoded once, in turn."""
        assert isinstance(frame, HeadersFrame)
        return {bytes(n): bytes(v) for n, v in self._decoder.decode(frame.data, raw=True)}


def parsed(data: bytes) -> list[Frame]:
    """Bytes as frames."""
    found = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        found.append(frame)
        data = data[9 + length :]
    return found


def head(
    stream: int = 1, fields: Sequence[tuple[bytes, bytes]] = REQUEST, *, ends: bool = False
) -> HeadersFrame:
    """A request's HEADERS, whose block stands for itself."""
    block = Encoder().encode([(name, value, True) for name, value in fields])
    return HeadersFrame(stream, block, flags=["END_HEADERS", *(["END_STREAM"] if ends else [])])


def body(stream: int, data: bytes, *, ends: bool = True) -> DataFrame:
    """A request's DATA."""
    return DataFrame(stream, data, flags=["END_STREAM"] if ends else [])


def goaways(sent: Sequence[Frame]) -> list[int]:
    """The codes of the GOAWAYs among frames."""
    return [frame.error_code for frame in sent if isinstance(frame, GoAwayFrame)]


def resets(sent: Sequence[Frame]) -> list[tuple[int, int]]:
    """The streams and codes of the RST_STREAMs among frames."""
    return [(f.stream_id, f.error_code) for f in sent if isinstance(f, RstStreamFrame)]
