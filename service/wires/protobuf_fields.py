"""The fields of a protobuf message, counted and read before it is parsed.

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


def text(data: bytes, number: int, limit: int) -> str:
    """The text in a field of a message that will not be parsed.

    Args:
        data: the message.
        number: of the field.
        limit: how many fields are looked at.

    Returns:
        The first such text; empty where there is none, or what stands there is no text.
    """
    at = 0
    try:
        for _ in range(limit):
            tag, at = _varint(data, at)
            length, at = _skip(data, at, tag & 7)
            if tag >> 3 == number and tag & 7 == _BYTES:
                return data[at - length : at].decode() if at <= len(data) else ""
    except (IndexError, ValueError):  # a UnicodeDecodeError is one
        pass
    return ""


def _exceed(data: bytes, at: int, end: int, limit: int, nested: int) -> bool:
    count = 0
    while at < end:
        count += 1
        if count > limit:
            return True
        tag, at = _varint(data, at)
        kind = tag & 7
        length, at = _skip(data, at, kind)
        if kind == _BYTES and tag >> 3 == nested:
            begin = at - length
            if _exceed(data, begin, min(at, end), limit, 0):
                return True
    return False


def _skip(data: bytes, at: int, kind: int) -> tuple[int, int]:
    """How long the content is whose field's tag ends at a place, and the place behind it."""
    if kind == _VARINT:
        _, behind = _varint(data, at)
        return behind - at, behind
    if kind == _BYTES:
        length, at = _varint(data, at)
        return length, at + length
    if kind in _SIZES:
        return _SIZES[kind], at + _SIZES[kind]
    raise ValueError(kind)


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
