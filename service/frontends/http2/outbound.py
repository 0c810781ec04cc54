"""What leaves: frames in their order, content as the peer's windows allow.

Source: RFC 9113, sections 5.2, 6.1, 6.2 and 6.9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from service.frontends.http2 import frames, moderation
from service.frontends.http2.faults import ConnectionFault, StreamFault
from service.frontends.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADER,
    HEADERS,
    ErrorCode,
)
from service.frontends.http2.headers import FORGET
from service.frontends.http2.moderation import Moderation
from service.frontends.http2.stream import Stream

_LARGEST_FRAME = 1 << 16  # a larger one would hold up the other streams
_AT_ONCE = 1 << 18  # bytes of content, before the edge has taken what there is
_ENDS = END_HEADERS | END_STREAM
_TABLE_BYTES = 4096  # SETTINGS_HEADER_TABLE_SIZE until told otherwise


class Outbound:
    """The sending half of a connection.

    Args:
        wake: called when there is something to take, where there was nothing.
        ended: called with each stream whose answer has ended.
        peer: hears of all that is worth something to the peer.
    """

    __slots__ = (
        "_blocked",
        "_content",
        "_ended",
        "_forget",
        "_frame_bytes",
        "_initial",
        "_moderation",
        "_parts",
        "_paused",
        "_wake",
        "_window",
        "unsent",
    )

    def __init__(
        self,
        wake: Callable[[], object],
        ended: Callable[[Stream], object],
        peer: Moderation,
    ) -> None:
        self._wake = wake
        self._ended = ended
        self._moderation = peer
        self._window = self._initial = frames.DEFAULT_WINDOW
        self._frame_bytes = frames.MAX_FRAME_BYTES
        self._parts: list[bytes | memoryview] = []
        self._content = 0  # bytes of it in the parts
        self._blocked: dict[Stream, None] = {}  # in their turns
        self._paused = False
        self._forget = b""  # before the next block
        self.unsent = 0  # bytes of content that wait for a window

    @property
    def initial(self) -> int:
        """The window of a new stream."""
        return self._initial

    def take(self) -> list[bytes | memoryview]:
        """All that may leave now; an empty list when there is nothing more."""
        if self._blocked and not self._paused and self._content < _AT_ONCE:
            self._pump()
        parts, self._parts, self._content = self._parts, [], 0
        return parts

    def control(self, frame: bytes) -> None:
        """A frame that no window holds back."""
        if not self._parts:
            self._wake()
        self._parts.append(frame)

    def answer(self, stream: Stream, head: bytes, content: bytes, trailers: bytes) -> None:
        """A whole answer, at once where the windows allow it."""
        size = len(content)
        if (
            self._paused
            or size > self._window
            or size > stream.window
            or size > self._frame_bytes
            or self._blocked
            or self._forget
        ):
            self.headers(stream, head)
            self.data(stream, content)
            self.end(stream, trailers)
            return
        self._window -= size
        number, length, last = stream.number, len(head), len(trailers)
        if not self._parts:
            self._wake()
        self._content += size
        self._parts += (
            HEADER.pack(length >> 16, length & 0xFFFF, HEADERS, END_HEADERS, number),
            head,
            HEADER.pack(size >> 16, size & 0xFFFF, DATA, 0, number),
            content,
            HEADER.pack(last >> 16, last & 0xFFFF, HEADERS, _ENDS, number),
            trailers,
        )
        self._moderation.spoken()
        self._ended(stream)

    def headers(self, stream: Stream, block: bytes, *, ends: bool = False) -> None:
        """The block of fields that begins an answer, or that ends it."""
        if self._forget:
            block = self._forget + block
            self._forget = b""
        self.control(frames.frame(HEADERS, _ENDS if ends else END_HEADERS, stream.number, block))
        self._moderation.spoken()
        if ends:
            self._ended(stream)

    def data(self, stream: Stream, content: bytes) -> None:
        """Part of an answer's content."""
        if content:
            self._moderation.earn(moderation.ANSWERED)
            stream.queue.append(memoryview(content))
            self.unsent += len(content)
            self._blocked[stream] = None
            if not self._parts:
                self._wake()

    def end(self, stream: Stream, trailers: bytes) -> None:
        """The fields behind an answer's content, which end it."""
        if stream.queue:
            stream.trailers = trailers
        else:
            self.headers(stream, trailers, ends=True)

    def drop(self, stream: Stream) -> None:
        """Nothing more of this stream leaves."""
        self._blocked.pop(stream, None)
        self.unsent -= sum(map(len, stream.queue))
        stream.queue.clear()

    def pause(self, *, paused: bool) -> None:
        """Whether the edge can take content."""
        self._paused = paused

    def credit(self, stream: Stream | None, increment: int) -> None:
        """The peer has made room; on the whole connection, where no stream is named.

        Raises:
            ConnectionFault: the connection's window would be too large.
            StreamFault: the stream's would.
        """
        if stream is None:
            self._window += increment
            if self._window > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond 31 bits")
        else:
            stream.window += increment
            if stream.window > frames.MAX_WINDOW:
                raise StreamFault(stream.number, ErrorCode.FLOW_CONTROL_ERROR)
        if self._blocked and not self._parts:
            self._wake()

    def resize(self, initial: int, streams: Sequence[Stream]) -> None:
        """SETTINGS_INITIAL_WINDOW_SIZE has changed, and with it each stream's window.

        Raises:
            ConnectionFault: a window would be too large.
        """
        change, self._initial = initial - self._initial, initial
        for stream in streams:
            stream.window += change
            if stream.window > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window beyond 31 bits")
        if self._blocked and not self._parts:
            self._wake()

    def limit_frames(self, size: int) -> None:
        """SETTINGS_MAX_FRAME_SIZE has changed."""
        self._frame_bytes = min(size, _LARGEST_FRAME)

    def limit_table(self, size: int) -> None:
        """SETTINGS_HEADER_TABLE_SIZE has changed. We use none, and may have to say so.

        Source: RFC 7541, section 4.2.
        """
        if size < _TABLE_BYTES:
            self._forget = FORGET

    def _pump(self) -> None:
        """Let content leave, a frame of each stream in turn."""
        waiting = list(self._blocked)
        while waiting and self._window > 0 and self._content < _AT_ONCE:
            still = []
            for stream in waiting:
                if self._content >= _AT_ONCE:
                    return
                if stream.window > 0 and self._window > 0:
                    self._send(stream)
                    if stream.queue:
                        still.append(stream)
            waiting = still

    def _send(self, stream: Stream) -> None:
        whole = stream.queue[0]
        size = min(len(whole), stream.window, self._window, self._frame_bytes)
        if size == len(whole):
            stream.queue.popleft()
        else:
            stream.queue[0] = whole[size:]
        stream.window -= size
        self._window -= size
        self._content += size
        self.unsent -= size
        self._parts += (frames.header(size, DATA, 0, stream.number), whole[:size])
        self._moderation.spoken()
        del self._blocked[stream]
        if stream.queue:
            self._blocked[stream] = None  # behind the others
        elif stream.trailers is not None:
            self.headers(stream, stream.trailers, ends=True)
        elif stream.receiver is not None:
            stream.receiver.writable()
