"""Inference messages that decode, and whose tensors lie: each lie once for each datatype."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.hostile.grpc_case import Call, spoilt
from benchmarks.hostile.grpc_messages import (
    CONTENTS,
    ELEMENTS,
    every_type,
    rows,
    tensor,
    texts,
    typed,
)

_NO_DATATYPES = (
    "",
    "FP8",
    "INT128",
    "STRING",
    "TYPE_FP32",
    "float32",
    " FP32",
    "FP32\0",
    "9" * 999,
)
_LARGEST = 2**63 - 1
_SHAPES: dict[str, Sequence[int]] = {
    "a negative size": [-1, 2],
    "another negative size": [1, -2],
    "two negative sizes": [-1, -2],
    "the least size": [-(2**63), 2],
    "no axes": [],
    "an axis too few": [2],
    "an axis too many": [1, 1, 2],
    "swapped axes": [2, 1],
    "33 axes": [1] * 32 + [2],
    "a hundred thousand axes": [1] * 100_000,
    "no rows": [0, 2],
    "a row too many": [2, 2],
    "nine rows": [9, 2],
    "a billion rows": [10**9, 2],
    "a billion rows of 2048": [10**9, 2048],
    "a billion elements a row": [1, 10**9],
    "more than 31 bits": [2**31, 2],
    "the largest size": [_LARGEST, 1],
    "a product beyond 64 bits": [_LARGEST, _LARGEST],
    "a product that wraps around to 2": [2**63 - 1, 2**62 + 1, 2],
    "a product that wraps around to 0": [2**32, 2**32],
    "nothing times everything": [0, _LARGEST, _LARGEST],
}


def cases() -> Iterator[Call]:
    """All of them."""
    for name in ELEMENTS:
        yield from _datatypes(name)
        yield from _shapes(name)
        yield from _sizes(name)
        yield from _typed_fields(name)
        yield from _typed_counts(name)
    yield from _ranges()
    yield from _bytes()
    yield from _bfloat16()


def _changed(make: Callable[[], Any], datatype: str) -> tuple[Any, Any, int]:
    """A good message, its input of the datatype, and where that is."""
    message = make()
    for i, item in enumerate(message.inputs):
        if item.datatype == datatype:
            return message, item, i
    raise KeyError(datatype)


def _datatypes(datatype: str) -> Iterator[Call]:
    for other in (*ELEMENTS, "BF16", *_NO_DATATYPES):
        if other != datatype:
            message, item, _ = _changed(every_type, datatype)
            item.datatype = other
            yield spoilt("datatypes", f"{datatype} as {other[:20]!r}", message)


def _shapes(datatype: str) -> Iterator[Call]:
    for name, shape in _SHAPES.items():
        message, item, _ = _changed(every_type, datatype)
        item.shape[:] = shape
        yield spoilt("shapes", f"{datatype}, raw: {name}", message)
        if ELEMENTS[datatype].contents:
            message, item, _ = _changed(typed, datatype)
            item.shape[:] = shape
            yield spoilt("shapes", f"{datatype}, typed: {name}", message)


def _sizes(datatype: str) -> Iterator[Call]:
    raw = ELEMENTS[datatype].raw
    for name, data in {
        "a byte too few": raw[:-1],
        "a byte too many": raw + b"\0",
        "half": raw[: len(raw) // 2],
        "twice": raw * 2,
        "no bytes": b"",
        "a megabyte": raw * (1_000_000 // len(raw)),
    }.items():
        message, item, i = _changed(every_type, datatype)
        message.raw_input_contents[i] = data
        yield spoilt("raw sizes", f"{datatype}: {name}", message, mentions=item.name)


def _typed_fields(datatype: str) -> Iterator[Call]:
    """In a field that is another datatype's, or in two, or beside raw contents."""
    right = ELEMENTS[datatype].contents
    make = typed if right else _typed_with(datatype)
    for field, value in CONTENTS.items():
        if field == right:
            continue
        message, item, _ = _changed(make, datatype)
        item.ClearField("contents")
        getattr(item.contents, field).extend([value] * 2)
        yield spoilt("typed fields", f"{datatype} in {field}", message, mentions=item.name)
        if right:
            message, item, _ = _changed(make, datatype)
            getattr(item.contents, field).append(value)
            yield spoilt("typed fields", f"{datatype} in {right} and {field}", message)
    beside, item, _ = _changed(every_type, datatype)
    field = right or "fp32_contents"
    getattr(item.contents, field).extend(ELEMENTS[datatype].values or [1.0, 2.0])
    yield spoilt("typed fields", f"{datatype}: raw and typed", beside)


def _typed_with(datatype: str) -> Callable[[], Any]:
    """The typed message, and an input of a datatype that has no typed form."""

    def make() -> Any:
        message = typed()
        message.model_name = "every_type"
        message.inputs.append(tensor(f"in_{datatype}", datatype, [1, 2]))
        return message

    return make


def _typed_counts(datatype: str) -> Iterator[Call]:
    element = ELEMENTS[datatype]
    if not element.contents:
        return
    values = element.values
    counts: Mapping[str, Sequence[Any]] = {
        "none": [],
        "one too few": values[:1],
        "one too many": [*values, values[0]],
        "a hundred thousand": [*values] * 50_000,
    }
    for name, given in counts.items():
        message, item, _ = _changed(typed, datatype)
        item.ClearField("contents")
        getattr(item.contents, element.contents).extend(given)
        yield spoilt("typed counts", f"{datatype}: {name}", message, mentions=item.name)


def _ranges() -> Iterator[Call]:
    for datatype, bits in (("INT8", 8), ("INT16", 16), ("UINT8", 8), ("UINT16", 16)):
        signed = datatype.startswith("INT")
        top = 2 ** (bits - signed)
        wrong = [top, top + 1, 2**31 - 1]
        wrong += [-top - 1, -(2**31)] if signed else [2**32 - 1]
        for value in wrong:
            message, item, _ = _changed(typed, datatype)
            getattr(item.contents, ELEMENTS[datatype].contents)[1] = value
            yield spoilt("typed ranges", f"{datatype}: {value}", message, mentions=item.name)
    for value in (2, 128, 255):
        message, item, i = _changed(every_type, "BOOL")
        message.raw_input_contents[i] = bytes([1, value])
        yield spoilt("typed ranges", f"BOOL, raw: {value}", message, mentions=item.name)


def _bytes() -> Iterator[Call]:
    def prefixed(length: int, text: bytes) -> bytes:
        return struct.pack("<I", length) + text

    right = prefixed(2, b"ab")
    for name, data in {
        "no element": b"",
        "half a prefix": b"\1\0",
        "a prefix and a half": right + b"\1\0",
        "one of two elements": right,
        "three of two elements": right * 3,
        "a prefix of 4 GiB": right + prefixed(2**32 - 1, b"ab"),
        "a prefix of 2 GiB": right + prefixed(2**31, b"ab"),
        "a prefix one too long": right + prefixed(3, b"ab"),
        "a prefix one too short": right + prefixed(1, b"ab"),
        "big-endian prefixes": struct.pack(">I", 2) + b"ab" + struct.pack(">I", 2) + b"cd",
        "text without prefixes": b"hello, world",
        "bytes that are no UTF-8, without prefixes": b"\xff\xfe\xfd\xfc" * 4,
        "no UTF-8, and a prefix too long": right + prefixed(9, b"\xff\xfe"),
        "a megabyte of zeros": bytes(1 << 20),
    }.items():
        yield spoilt("BYTES", name, texts(data), mentions="text")
    for shape in ([10**9, 1], [2**62, 4], [0, 1], [-2, 1], [2], []):
        yield spoilt("BYTES", f"shape {shape}", texts(right * 2, shape))


def _bfloat16() -> Iterator[Call]:
    """No model here takes it, and the protocol has no typed form for it."""
    for field, value in CONTENTS.items():
        message = rows()
        message.ClearField("raw_input_contents")
        item = message.inputs[0]
        item.datatype = "BF16"
        getattr(item.contents, field).extend([value] * 3)
        yield spoilt("typed fields", f"BF16 in {field}", message, mentions="x")
    message = rows()
    message.inputs[0].datatype = "BF16"
    message.raw_input_contents[0] = bytes(6)
    yield spoilt("datatypes", "BF16 for a model of FP32", message, mentions="x")
