"""The fields of a protobuf message, counted before it is parsed.

Source: "Encoding" (protobuf.dev/programming-guides/encoding): a field is a varint of its number and
wire type, and then a varint, 8 bytes, a length and so many bytes, or 4 bytes.
"""

from __future__ import annotations

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}


def exceed(data: bytes, limit: int, nested: int) -> bool:
    """Whether a message has more fields than the limit, or a message in its field `nested` has.

    What is no protobuf is left to the parser: the answer is no.
    """
    try:
        return _exceed(data, 0, len(data), limit, nested)
    except (IndexError, ValueError):
        return False


def _exceed(data: bytes, at: int, end: int, limit: int, nested: int) -> bool:
    count = 0
    while at < end:
        count += 1
        if count > limit:
            return True
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _BYTES:
            length, at = _varint(data, at)
            if tag >> 3 == nested and _exceed(data, at, min(at + length, end), limit, 0):
                return True
            at += length
        elif kind in _SIZES:
            at += _SIZES[kind]
        else:
            raise ValueError(kind)
    return False


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a place, and the place behind it."""
    value = shift = 0
    while True:
        octet = data[at]
        value |= (octet & 0x7F) << shift
        at += 1
        if octet < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, at
        shift += 7
