"""Inference messages that are no protobuf, or too large."""

from __future__ import annotations

import random
from collections.abc import Iterator

from benchmarks.hostile.grpc_case import (
    INFER,
    MALFORMED,
    OVER_LIMIT,
    UNKNOWN_NAME,
    Call,
)
from benchmarks.hostile.grpc_messages import ROW, rows

_GROUP, _END_GROUP = 3, 4


def cases(max_message: int) -> Iterator[Call]:
    """All of them.

    Args:
        max_message: bytes of a message that the gateway takes.
    """
    yield from _cut()
    yield from _broken()
    yield from _large(max_message)


def _raw(category: str, name: str, data: bytes) -> Call:
    """Bytes, which may happen to decode, to no or to half a model name."""
    return Call(
        category=category,
        name=name,
        message=lambda: data,
        expected=frozenset({MALFORMED, UNKNOWN_NAME}),
        method=INFER,
        streams=True,
        identity="*",  # whether it was read before the bytes broke
    )


def _cut() -> Iterator[Call]:
    whole: bytes = rows().SerializeToString(deterministic=True)
    for end in range(len(whole)):
        yield _raw("cut messages", f"ends at byte {end} of {len(whole)}", whole[:end])


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, wire: int, data: bytes = b"") -> bytes:
    return _varint(number << 3 | wire) + data


def _text(number: int, data: bytes) -> bytes:
    return _field(number, 2, _varint(len(data)) + data)


def _broken() -> Iterator[Call]:
    whole: bytes = rows().SerializeToString(deterministic=True)
    noise = random.Random(7)
    spoilt = {
        "a byte": b"\x01",
        "JSON": b'{"model_name": "rows", "inputs": []}',
        "XML": b"<?xml version='1.0'?><inputs/>",
        "the row alone": ROW,
        "zeros": bytes(1000),
        "ones": b"\xff" * 1000,
        "text": b"hello, world " * 100,
        "a gRPC frame within": b"\0" + len(whole).to_bytes(4, "big") + whole,
        "a gzip of it": b"\x1f\x8b\x08\0\0\0\0\0\0\3" + whole,
        "the field 0": whole + b"\0\0",
        "a field number of 32 bits": whole + _varint(2**32 << 3) + b"\1",
        "the wire type 6": whole + _field(9, 6, b"\1"),
        "the wire type 7": whole + _field(9, 7, b"\1"),
        "a varint of 11 bytes": whole + _field(9, 0, b"\xff" * 10 + b"\1"),
        "a varint without end": whole + _field(9, 0, b"\xff" * 5),
        "a length of 2 GiB": whole + _field(7, 2, _varint(2**31)),
        "a length of 64 bits": whole + _field(7, 2, _varint(2**64 - 1)),
        "a length one too long": whole[:-1],
        "half of a fixed 64": whole + _field(9, 1, b"\0" * 4),
        "half of a fixed 32": whole + _field(9, 5, b"\0" * 2),
        "a group without end": whole + _field(9, _GROUP),
        "an end without a group": whole + _field(9, _END_GROUP),
        "another group's end": whole + _field(9, _GROUP) + _field(10, _END_GROUP),
        "a thousand groups in each other": whole
        + _field(9, _GROUP) * 1000
        + _field(9, _END_GROUP) * 1000,
        "a million groups without end": whole + _field(9, _GROUP) * 1_000_000,
        "a model name that is no UTF-8": _text(1, b"ro\xff\xfews") + whole,
        "a model name that is half a surrogate": _text(1, b"\xed\xa0\x80") + whole,
        "a model name that is overlong UTF-8": _text(1, b"\xc0\xaf") + whole,
        "a version that is no UTF-8": _text(2, b"\xff") + whole,
        "an id that is no UTF-8": _text(3, b"\x80") + whole,
        "a parameter's name that is no UTF-8": _text(4, _text(1, b"\xff")) + whole,
        "a parameter that is no message": _text(4, b"\xff\xff") + whole,
        "an input that is no message": _text(5, b"\xff\xff") + whole,
        "an input's name that is no UTF-8": _text(5, _text(1, b"\xff")) + whole,
        "an input's shape that is no numbers": _text(5, _text(3, b"\xff")) + whole,
        "contents that are no message": _text(5, _text(5, b"\xff")) + whole,
        "contents of half a float": _text(5, _text(5, _text(6, b"\0\0"))) + whole,
        "an output that is no message": _text(6, b"\xff\xff") + whole,
        "the model name as a number": _field(1, 0, b"\7"),
        "the inputs as a number": _text(1, b"rows") + _field(5, 0, b"\7"),
        "the raw contents as a number": whole[: whole.rindex(ROW) - 2] + _field(7, 0, b"\7"),
    }
    for name, data in spoilt.items():
        yield _raw("no protobuf", name, data)
    for i in range(20):
        data = noise.randbytes(noise.choice([7, 60, 500, 20_000]))
        yield _raw("no protobuf", f"noise {i}: {len(data)} bytes", data)


def _large(max_message: int) -> Iterator[Call]:
    def padded(size: int) -> bytes:
        head: bytes = rows().SerializeToString()
        return head + _text(9, bytes(size - len(head)))

    def row_upon_row(size: int) -> bytes:
        message = rows()
        message.inputs[0].shape[:] = [size // len(ROW), 3]
        message.raw_input_contents[0] = ROW * (size // len(ROW))
        data: bytes = message.SerializeToString()
        return data

    over = max_message + 1
    for name, make, compressed in (
        ("a byte over the limit, of an unknown field", lambda: padded(over), False),
        ("rows beyond the limit", lambda: row_upon_row(over), False),
        ("twice the limit", lambda: row_upon_row(2 * over), False),
        ("rows beyond the limit, compressed", lambda: row_upon_row(over), True),
        ("twice the limit, compressed", lambda: row_upon_row(2 * over), True),
    ):
        yield Call(
            category="large messages",
            name=name,
            message=make,
            expected=frozenset({OVER_LIMIT}),
            compressed=compressed,
        )
