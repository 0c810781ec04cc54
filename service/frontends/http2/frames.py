"""The frames of HTTP/2, and what stands in them.

Source: RFC 9113, sections 4 and 6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""Section 3.4: what a client says first."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)

ACK = END_STREAM = 0x01
END_HEADERS = 0x04
PADDED = 0x08
HAS_PRIORITY = 0x20

HEADER = struct.Struct(">BHBBI")
"""Length in 24 bits, type, flags, and the stream, whose highest bit means nothing."""
HEADER_BYTES = HEADER.size
MAX_FRAME_BYTES = 1 << 14
"""SETTINGS_MAX_FRAME_SIZE until told otherwise, and the least that may be told."""
LARGEST_FRAME_BYTES = (1 << 24) - 1
MAX_WINDOW = (1 << 31) - 1
DEFAULT_WINDOW = (1 << 16) - 1
LAST_STREAM = (1 << 31) - 1
PRIORITY_BYTES = 5
PING_BYTES = 8

_UINT32 = struct.Struct(">I")
_SETTING = struct.Struct(">HI")
_GOAWAY = struct.Struct(">II")


class ErrorCode(IntEnum):
    """Section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB


class Setting(IntEnum):
    """Section 6.5.2."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


def header(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a frame's payload."""
    return HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return header(len(payload), kind, flags, stream) + payload


def settings(given: Mapping[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*item) for item in given.items()))


def goaway(last: int, code: ErrorCode, text: str = "") -> bytes:
    """A GOAWAY frame.

    Args:
        last: the highest stream that is or may be answered.
        code: why.
        text: the same for a human.
    """
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(last, code) + text.encode())


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    """An RST_STREAM frame."""
    return header(4, RST_STREAM, 0, stream) + _UINT32.pack(code)


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return header(4, WINDOW_UPDATE, 0, stream) + _UINT32.pack(increment)


def uint32(payload: bytes) -> int:
    """Four bytes as a number."""
    found: int = _UINT32.unpack(payload)[0]
    return found


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Identifiers and values out of a SETTINGS frame, whose length is a multiple of six."""
    return _SETTING.iter_unpack(payload)
