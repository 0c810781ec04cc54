"""Frames out of bytes: each whole, in an order that may be, and a header block in one piece.

Source: RFC 9113, sections 3.4, 4.1, 4.3, 6.1, 6.2 and 6.10.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.frontends.http2 import frames
from service.frontends.http2.faults import ConnectionFault, calm
from service.frontends.http2.frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    HAS_PRIORITY,
    HEADER,
    HEADER_BYTES,
    HEADERS,
    LAST_STREAM,
    MAX_FRAME_BYTES,
    PADDED,
    PREFACE,
    SETTINGS,
    ErrorCode,
)

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream and payload."""

_CONTINUATIONS = 32  # of a block, beside those that its bytes need


class Intake:
    """What has come of a connection, as far as it makes no frame yet.

    Args:
        max_block: bytes of a header block.
    """

    __slots__ = (
        "_block",
        "_block_bytes",
        "_block_of",
        "_max_block",
        "_preface",
        "_rest",
        "greeted",
    )

    def __init__(self, max_block: int) -> None:
        self._max_block = max_block
        self._rest = b""  # of a frame
        self._block: list[bytes] = []  # of fields that are still arriving
        self._block_bytes = 0
        self._block_of: tuple[int, int] | None = None  # their stream and flags
        self._preface = True  # whether it is due
        self.greeted = False  # whether preface and SETTINGS have come

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now; of HEADERS the whole block, bare of all else.

        Raises:
            ConnectionFault: what came cannot be.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, size = 0, len(data)
        if self._preface:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this is no HTTP/2")
            if size < len(PREFACE):
                self._rest = data
                return
            self._preface = False
            at = len(PREFACE)
        unpack = HEADER.unpack_from
        while size - at >= HEADER_BYTES:
            high, low, kind, flags, number = unpack(data, at)
            length = high << 16 | low
            if length > MAX_FRAME_BYTES:
                raise ConnectionFault(
                    ErrorCode.FRAME_SIZE_ERROR,
                    f"a frame of {length} bytes, at most {MAX_FRAME_BYTES} are taken",
                )
            begin = at + HEADER_BYTES
            if begin + length > size:
                break
            at = begin + length
            frame = (kind, flags, number & LAST_STREAM, data[begin:at])
            if kind == HEADERS or self._block_of is not None or not self.greeted:
                found = self._in_order(*frame)
                if found is not None:
                    yield found
            else:
                yield frame
        self._rest = data[at:]

    def _in_order(self, kind: int, flags: int, number: int, payload: bytes) -> Frame | None:
        """A frame whose place matters; None where more of it has to come."""
        if self._block_of is not None:
            if kind != CONTINUATION or number != self._block_of[0]:
                raise ConnectionFault(
                    ErrorCode.PROTOCOL_ERROR, "amid a header block: its CONTINUATION is due"
                )
            return self._gathered(payload, whole=bool(flags & END_HEADERS))
        if not self.greeted:
            if kind != SETTINGS or flags & ACK:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self.greeted = True
            return kind, flags, number, payload
        if flags & PADDED:
            payload = unpadded(payload)
        if flags & HAS_PRIORITY:
            if len(payload) < frames.PRIORITY_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its flags")
            payload = payload[frames.PRIORITY_BYTES :]
        if flags & END_HEADERS:
            return kind, flags, number, payload
        self._block_of, self._block, self._block_bytes = (number, flags), [], 0
        return self._gathered(payload, whole=False)

    def _gathered(self, payload: bytes, *, whole: bool) -> Frame | None:
        """Section 10.5.1: a header block is bounded before it is known what it says."""
        self._block.append(payload)
        self._block_bytes += len(payload)
        pieces = self._block_bytes // MAX_FRAME_BYTES + _CONTINUATIONS
        if self._block_bytes > self._max_block or len(self._block) > pieces:
            raise calm("a header block is over SETTINGS_MAX_HEADER_LIST_SIZE, or in too many parts")
        if not whole or self._block_of is None:
            return None
        (number, flags), block = self._block_of, b"".join(self._block)
        self._block_of, self._block = None, []
        return HEADERS, flags, number, block


def unpadded(payload: bytes) -> bytes:
    """Section 6.1: the first byte says how many of the last ones mean nothing."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1 : len(payload) - payload[0]]
