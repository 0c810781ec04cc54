"""One connection, as its server sees it: bytes in, requests and bytes out. It does no I/O.

Source: RFC 9113. Streams that clients open are all there are: nothing is pushed, and priorities
(section 5.3) are ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from service.frontends.http2 import frames, moderation, settings
from service.frontends.http2.application import Application, H
from service.frontends.http2.faults import (
    ConnectionFault,
    MalformedError,
    StreamFault,
    check_size,
)
from service.frontends.http2.frames import (
    ACK,
    END_STREAM,
    LAST_STREAM,
    PADDED,
    SETTINGS,
    ErrorCode,
    Setting,
)
from service.frontends.http2.headers import HeaderDecoder, check_trailers
from service.frontends.http2.intake import Intake, unpadded
from service.frontends.http2.moderation import Moderation
from service.frontends.http2.outbound import Outbound
from service.frontends.http2.stream import INITIAL_WINDOW, Stream

MAX_STREAMS = 1024
"""SETTINGS_MAX_CONCURRENT_STREAMS."""
MAX_UNSENT = 64 << 20
"""Bytes of answers that wait for a peer's windows; beyond, it can ask for no more."""
CONNECTION_WINDOW = 16 << 20
"""Bytes of all requests together that may be on their way."""

_TOLD_FROM = CONNECTION_WINDOW // 4
_REMEMBERED = 2 * MAX_STREAMS  # streams that we have ended while their client was still sending
_DRAINING = b"goaway\0\0"
_ALIVE = b"keepaliv"


class Connection(Generic[H]):
    """The state of a connection.

    Args:
        application: answers.
        wake: called when there is something to take where there was nothing.
        max_header_bytes: of a request's list of fields.
        now: seconds of a monotonic clock.
    """

    def __init__(
        self,
        application: Application[H],
        wake: Callable[[], object],
        *,
        max_header_bytes: int,
        now: float,
    ) -> None:
        self._application = application
        self._decoder: HeaderDecoder[H] = HeaderDecoder(application.read, max_header_bytes)
        self._moderation = Moderation(now)
        self.out = Outbound(wake, self._answered, self._moderation)
        self._streams: dict[int, Stream] = {}
        self._left: dict[int, None] = {}  # ended by us while their client was still sending
        self._last = 0
        self._end = LAST_STREAM  # the last stream that is answered
        self._now = now
        self._intake = Intake(max_header_bytes)
        self._window = CONNECTION_WINDOW
        self.failed: ConnectionFault | None = None
        self.heard = now  # when the peer last said anything
        self._on = (
            self._data, self._headers, self._priority, self._rst_stream, self._settings,
            self._push_promise, self._ping, self._goaway, self._window_update, self._continuation,
        )  # fmt: skip
        self.out.control(
            frames.settings(
                {
                    Setting.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                    Setting.INITIAL_WINDOW_SIZE: INITIAL_WINDOW,
                    Setting.MAX_HEADER_LIST_SIZE: max_header_bytes,
                }
            )
        )
        self.out.control(frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW))

    # ------------------------------------------------------------------ from outside

    @property
    def streams(self) -> int:
        """Requests that have not been answered to the end."""
        return len(self._streams)

    @property
    def greeted(self) -> bool:
        """Whether the client's preface and SETTINGS have come."""
        return self._intake.greeted

    @property
    def done(self) -> bool:
        """Whether nothing more will come of it."""
        return self.failed is not None or (self._end < LAST_STREAM and not self._streams)

    def receive(self, data: bytes, now: float) -> None:
        """Bytes have come. What is wrong with them ends as GOAWAY; nothing is raised."""
        if self.failed is not None:
            return
        self._now = self.heard = now
        try:
            self._receive(data)
        except ConnectionFault as fault:
            self.fail(fault)

    def fail(self, fault: ConnectionFault) -> None:
        """Section 5.4.1: say what is wrong; the edge closes once that has left."""
        self.failed = fault
        self.out.control(frames.goaway(self._last, fault.code, fault.text))
        self.lost()

    def lost(self) -> None:
        """The connection has ended, or is about to."""
        streams = list(self._streams.values())
        self._streams.clear()
        for stream in streams:
            self._tell_gone(stream)

    def drain(self) -> None:
        """Section 6.8: tell the client to open no more streams, and ask whether it has heard."""
        self.out.control(frames.goaway(LAST_STREAM, ErrorCode.NO_ERROR, "shutting down"))
        self.out.control(frames.frame(frames.PING, 0, 0, _DRAINING))

    def drained(self) -> None:
        """The client has heard, or had the time to: later streams are not answered."""
        if self._end == LAST_STREAM and self.failed is None:
            self._end = self._last
            self.out.control(frames.goaway(self._last, ErrorCode.NO_ERROR, "shutting down"))

    def probe(self) -> None:
        """Ask whether the client is still there."""
        self.out.control(frames.frame(frames.PING, 0, 0, _ALIVE))

    def consumed(self, stream: Stream, size: int) -> None:
        """The application has read so much of a request: as much may follow."""
        if increment := stream.credit(size):
            self.out.control(frames.window_update(stream.number, increment))

    # ------------------------------------------------------------------ frames

    def _receive(self, data: bytes) -> None:
        on, spend = self._on, self._moderation.spend
        for kind, flags, number, payload in self._intake.feed(data):
            spend(moderation.FRAME, self._now)
            try:
                if kind < len(on):
                    on[kind](flags, number, payload)
                else:  # section 5.5: it means nothing
                    spend(moderation.NOTHING, self._now)
            except StreamFault as fault:
                self._fault(fault)

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._window -= size
        if self._window < CONNECTION_WINDOW - _TOLD_FROM:
            if self._window < 0:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "content beyond the window")
            self.out.control(frames.window_update(0, CONNECTION_WINDOW - self._window))
            self._window = CONNECTION_WINDOW
        stream = self._streams.get(number)
        if stream is None:
            self._belongs_to_the_past(number)
            return
        if stream.remote_closed:
            raise StreamFault(number, ErrorCode.STREAM_CLOSED)
        stream.inbound -= size
        if stream.inbound < 0:
            raise StreamFault(number, ErrorCode.FLOW_CONTROL_ERROR)
        ends = bool(flags & END_STREAM)
        if flags & PADDED:
            payload = unpadded(payload)
            self.consumed(stream, size - len(payload))
        if payload:
            self._moderation.earn(len(payload) * moderation.CONTENT)
        elif not ends:
            self._moderation.spend(moderation.NOTHING, self._now)
        self._content(stream, payload, ends=ends)

    def _content(self, stream: Stream, payload: bytes, *, ends: bool) -> None:
        stream.content += len(payload)
        if stream.length is not None and (
            stream.content > stream.length or (ends and stream.content != stream.length)
        ):
            raise StreamFault(stream.number, ErrorCode.PROTOCOL_ERROR)  # section 8.1.1
        stream.remote_closed = ends
        assert stream.receiver is not None  # noqa: S101 - set before the stream can be found
        stream.receiver.data(payload, ends=ends)

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a request on stream {number}")
        self._fields(number, payload, ends=bool(flags & END_STREAM))

    def _continuation(self, _flags: int, number: int, _payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"CONTINUATION of nothing, on {number}")

    def _fields(self, number: int, block: bytes, *, ends: bool) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            self._trailers(stream, block, ends=ends)
            return
        if number <= self._last:
            self._decoder.fields(block)  # whatever comes of it, the table has to be right
            self._belongs_to_the_past(number)
            return
        self._last = number
        try:
            head = self._decoder.head(block)
        except MalformedError:
            self._leave(number, ends=ends)
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR) from None
        if number > self._end:
            return  # section 6.8: it was told, and will ask elsewhere
        if len(self._streams) >= MAX_STREAMS or self.out.unsent > MAX_UNSENT:
            self._moderation.spend(moderation.RESET, self._now)
            self._leave(number, ends=ends)
            self.out.control(frames.rst_stream(number, ErrorCode.REFUSED_STREAM))
            return
        stream = Stream(number, self.out.initial, head.length)
        stream.remote_closed = ends
        self._streams[number] = stream
        receiver = self._application.open(self, stream, head)
        if number not in self._streams:
            return  # it is answered by now
        stream.receiver = receiver
        if ends:
            self._content(stream, b"", ends=True)

    def _trailers(self, stream: Stream, block: bytes, *, ends: bool) -> None:
        """Section 8.1: they end a request. gRPC gives them no meaning."""
        fields = self._decoder.fields(block)
        if stream.remote_closed:
            raise StreamFault(stream.number, ErrorCode.STREAM_CLOSED)
        try:
            check_trailers(fields)
        except MalformedError:
            raise StreamFault(stream.number, ErrorCode.PROTOCOL_ERROR) from None
        if not ends:
            raise StreamFault(stream.number, ErrorCode.PROTOCOL_ERROR)
        self._content(stream, b"", ends=True)

    def _belongs_to_the_past(self, number: int) -> None:
        """A frame of a stream that has ended: on its way while we ended it, or a mistake."""
        if not number & 1 or number > self._last:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a frame of the idle stream {number}")
        if number not in self._left and number <= self._end:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, f"stream {number} has ended")
        self._moderation.spend(moderation.FRAME, self._now)

    def _priority(self, _flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY of the connection")
        if len(payload) != frames.PRIORITY_BYTES:
            raise StreamFault(number, ErrorCode.FRAME_SIZE_ERROR)
        self._moderation.spend(moderation.FRAME, self._now)

    def _rst_stream(self, _flags: int, number: int, payload: bytes) -> None:
        check_size("RST_STREAM", payload, 4)
        if not number & 1 or number > self._last:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"RST_STREAM of the idle {number}")
        self._moderation.spend(moderation.RESET, self._now)
        stream = self._streams.pop(number, None)
        if stream is not None:
            self._tell_gone(stream)
        self._left.pop(number, None)

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS of stream {number}")
        if flags & ACK:
            check_size("an acknowledgement of SETTINGS", payload, 0)
            self._moderation.spend(moderation.NOTHING, self._now)
            return
        self._moderation.spend(moderation.NOTHING + settings.count(payload), self._now)
        settings.apply(payload, self.out, list(self._streams.values()))
        self.out.control(frames.frame(SETTINGS, ACK, 0))

    def _push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a PING of stream {number}")
        check_size("a PING", payload, frames.PING_BYTES)
        if flags & ACK:
            self._moderation.spend(moderation.NOTHING, self._now)
            if payload == _DRAINING:
                self.drained()
            return
        self._moderation.pinged(self._now)
        self.out.control(frames.frame(frames.PING, ACK, 0, payload))

    def _goaway(self, _flags: int, number: int, payload: bytes) -> None:
        """The client will open no more streams; those that there are go on."""
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"GOAWAY of stream {number}")
        if len(payload) < 8:  # noqa: PLR2004 - the last stream and the code
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a GOAWAY that is cut short")
        self._moderation.spend(moderation.NOTHING, self._now)

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        check_size("WINDOW_UPDATE", payload, 4)
        increment = frames.uint32(payload) & frames.MAX_WINDOW
        stream = self._streams.get(number)
        if number and stream is None:
            if not number & 1 or number > self._last:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a window of the idle {number}")
            return  # section 5.1: of a stream that has just ended
        if not increment:
            if stream is not None:
                raise StreamFault(number, ErrorCode.PROTOCOL_ERROR)
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
        self.out.credit(stream, increment)

    # ------------------------------------------------------------------ ends of streams

    def _answered(self, stream: Stream) -> None:
        self._streams.pop(stream.number, None)
        stream.receiver = None  # the two know each other: only the collector would free them
        self._moderation.earn(moderation.ANSWERED)
        if not stream.remote_closed:  # section 8.1: what is still to come is of no use
            self._leave(stream.number, ends=False)
            self.out.control(frames.rst_stream(stream.number, ErrorCode.NO_ERROR))

    def _fault(self, fault: StreamFault) -> None:
        self._moderation.spend(moderation.WRONG, self._now)
        stream = self._streams.pop(fault.stream, None)
        if stream is not None:
            self._leave(stream.number, ends=stream.remote_closed)
            self._tell_gone(stream)
        self.out.control(frames.rst_stream(fault.stream, fault.code))

    def _tell_gone(self, stream: Stream) -> None:
        self.out.drop(stream)
        receiver, stream.receiver = stream.receiver, None
        if receiver is not None:
            receiver.gone()

    def _leave(self, number: int, *, ends: bool) -> None:
        """We have ended a stream; more may come of it, unless the client has ended its half."""
        if not ends:
            if len(self._left) >= _REMEMBERED:
                del self._left[next(iter(self._left))]
            self._left[number] = None
