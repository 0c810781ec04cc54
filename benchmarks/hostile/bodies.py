"""Bodies of inference requests that are wrong in their JSON or in their binary tensors."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Iterator
from typing import Any

from benchmarks.hostile.case import INFER, Case, post, whole

_GOOD: dict[str, Any] = {
    "id": "good",
    "parameters": {"priority": 1, "timeout": 20_000_000, "binary_data_output": False},
    "inputs": [
        {
            "name": "x",
            "shape": [1, 3],
            "datatype": "FP32",
            "data": [1, 2, 3],
            "parameters": {},
        }
    ],
    "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
}

_RAW = "\0"  # marks a value that is written as it stands, for JSON has no such number
_WRONG: dict[str, Any] = {
    "null": None,
    "true": True,
    "a negative number": -7,
    "a fraction": 2.5,
    "1e400": _RAW + "1e400",
    "NaN": _RAW + "NaN",
    "-Infinity": _RAW + "-Infinity",
    "thirty digits": 10**30,
    "text": "seven",
    "empty text": "",
    "long text": "x" * 20_000,
    "an empty array": [],
    "an empty object": {},
    "an object": {"a": 1},
    "an array of arrays": [[[[1]]]],
    "a deep nest": _RAW + "[" * 3000 + "]" * 3000,
}
_NUMBERS = {"null", "true", "text", "empty text", "long text"} | {
    "an empty array",
    "an empty object",
    "an object",
    "an array of arrays",
    "a deep nest",
    "1e400",
    "NaN",
    "-Infinity",
}
_TEXTS = set(_WRONG) - {"text", "empty text"}
_NO_TRUTH = set(_WRONG) - {"true"}
_STRUCTURES = {"an empty array", "an object", "an array of arrays", "a deep nest", "1e400", "NaN"}

# Where in the good request, and which of the wrong values are wrong there.
_PLACES: dict[tuple[str | int, ...], set[str]] = {
    (): set(_WRONG),
    ("id",): _TEXTS,
    ("parameters",): set(_WRONG) - {"an empty object", "an object"},
    ("parameters", "priority"): set(_WRONG),
    ("parameters", "timeout"): set(_WRONG),
    ("parameters", "binary_data_output"): _NO_TRUTH,
    ("parameters", "mine"): _STRUCTURES | {"thirty digits", "an empty object"},
    ("inputs",): set(_WRONG),
    ("inputs", 0): set(_WRONG),
    ("inputs", 0, "name"): set(_WRONG),
    ("inputs", 0, "shape"): set(_WRONG),
    ("inputs", 0, "shape", 0): set(_WRONG),
    ("inputs", 0, "datatype"): set(_WRONG),
    ("inputs", 0, "data"): set(_WRONG),
    ("inputs", 0, "data", 1): _NUMBERS,
    ("inputs", 0, "parameters"): set(_WRONG) - {"an empty object", "an object"},
    ("inputs", 0, "parameters", "binary_data_size"): set(_WRONG),
    ("outputs",): set(_WRONG) - {"an empty array"},
    ("outputs", 0): set(_WRONG),
    ("outputs", 0, "name"): set(_WRONG),
    ("outputs", 0, "parameters"): set(_WRONG) - {"an empty object", "an object"},
    ("outputs", 0, "parameters", "binary_data"): _NO_TRUTH,
}


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _wrong_types()
    yield from _missing()
    yield from _texts()
    yield from _shapes()
    yield from _binary()


def good() -> bytes:
    """The request that all of these spoil."""
    return post(INFER, _json(_GOOD))


def _json(value: Any) -> bytes:
    """As JSON, with the marked values raw."""
    text = json.dumps(value)
    for raw in _WRONG.values():
        if isinstance(raw, str) and raw.startswith(_RAW):
            text = text.replace(json.dumps(raw), raw[1:])
    return text.encode()


def _changed(place: tuple[str | int, ...], value: Any) -> Any:
    if not place:
        return value
    changed = copy.deepcopy(_GOOD)
    spot: Any = changed
    for key in place[:-1]:
        spot = spot[key]
    spot[place[-1]] = value
    return changed


def _wrong_types() -> Iterator[Case]:
    for place, wrong in _PLACES.items():
        where = ".".join(map(str, place)) or "the whole"
        for name, value in _WRONG.items():
            if name in wrong:
                data = post(INFER, _json(_changed(place, value)))
                yield whole("wrong types in JSON", f"{where} is {name}", data)


def _missing() -> Iterator[Case]:
    for place in (
        ("inputs",),
        ("inputs", 0, "name"),
        ("inputs", 0, "shape"),
        ("inputs", 0, "datatype"),
        ("inputs", 0, "data"),
        ("outputs", 0, "name"),
    ):
        changed = copy.deepcopy(_GOOD)
        spot: Any = changed
        for key in place[:-1]:
            spot = spot[key]
        del spot[place[-1]]
        name = ".".join(map(str, place))
        yield whole("wrong types in JSON", f"{name} is missing", post(INFER, _json(changed)))


def _texts() -> Iterator[Case]:
    text = _json(_GOOD)
    for end in range(0, len(text), 23):
        yield whole("broken JSON", f"ends at byte {end}", post(INFER, text[:end]))
    spoilt = {
        "a comma too many": text.replace(b"3]", b"3,]"),
        "a number with a leading zero": text.replace(b"[1,", b"[01,"),
        "a hexadecimal number": text.replace(b"[1,", b"[0x1,"),
        "a number ending in a point": text.replace(b"[1,", b"[1.,"),
        "a million digits": text.replace(b"[1,", b"[" + b"9" * 1_000_000 + b","),
        "a large exponent": text.replace(b"[1,", b"[1e999999999,"),
        "single quotes": text.replace(b'"', b"'"),
        "a comment": b"/* hello */" + text,
        "a byte order mark": b"\xef\xbb\xbf" + text,
        "UTF-16": text.decode().encode("utf-16"),
        "bytes that are no UTF-8": text.replace(b"good", b"\xff\xfe\xfd"),
        "half a surrogate pair": text.replace(b"good", b"\\ud800"),
        "a control character": text.replace(b"good", b"go\x00od"),
        "an escape that is none": text.replace(b"good", b"\\q"),
        "two documents": text + text,
        "something behind it": text + b"!",
        "a hundred thousand brackets": b"[" * 100_000,
        "a hundred thousand objects": b'{"inputs":' * 100_000,
        "deep data": text.replace(b"[1, 2, 3]", b"[" * 50_000 + b"]" * 50_000),
        "nothing but blanks": b" " * 100_000,
        "a form": b"inputs=x&shape=1",
        "XML": b"<?xml version='1.0'?><inputs/>",
        "zeros": bytes(10_000),
    }
    for name, body in spoilt.items():
        yield whole("broken JSON", name, post(INFER, body))


def _shapes() -> Iterator[Case]:
    shapes: dict[str, Any] = {
        "a billion rows": [10**9, 3],
        "a billion elements a row": [1, 10**9],
        "a billion billions": [10**9, 10**9],
        "the largest sizes, 32 axes": [2**31 - 1] * 32,
        "more than 31 bits": [2**31, 3],
        "more than 63 bits": [2**63, 3],
        "more than 64 bits": [2**65, 3],
        "thirty digits": [10**30, 3],
        "nothing times everything": [0, 2**31 - 1, 2**31 - 1, 2**31 - 1],
        "no rows": [0, 3],
        "no axes": [],
        "a negative size": [-1, 3],
        "two negative sizes": [-1, -3],
        "33 axes": [1] * 33,
        "a hundred thousand axes": [1] * 100_000,
        "swapped axes": [3, 1],
        "an axis too many": [1, 1, 3],
    }
    for name, shape in shapes.items():
        for data in ([1, 2, 3], []):
            body = _json(
                _changed(("inputs", 0), _GOOD["inputs"][0] | {"shape": shape, "data": data})
            )
            yield whole("lying shapes", f"{name}, {len(data)} elements", post(INFER, body))
        yield whole("lying shapes", f"{name}, binary", _tensor(shape, "FP32", bytes(12)))


def _tensor(
    shape: Any,
    datatype: str,
    data: bytes,
    *,
    size: Any = None,
    length: object = None,
    name: str = "x",
    model: str = INFER,
) -> bytes:
    """An inference with one binary tensor, and whatever lies about it."""
    item = {
        "name": name,
        "shape": shape,
        "datatype": datatype,
        "parameters": {"binary_data_size": len(data) if size is None else size},
    }
    header = _json({"inputs": [item]})
    told = len(header) if length is None else length
    return post(model, header + data, {"Inference-Header-Content-Length": str(told)})


def _binary() -> Iterator[Case]:
    row = struct.pack("<3f", 1, 2, 3)
    for left in range(len(row)):
        data = _tensor([1, 3], "FP32", row[:left], size=12)
        yield whole("lying sizes", f"binary tensor ends {12 - left} bytes early", data)
    for size in (-1, 0, 1, 11, 13, 24, 2**31, 2**63, 2**70, 10**9):
        data = _tensor([1, 3], "FP32", row, size=size)
        yield whole("lying sizes", f"binary_data_size is {size}", data)
    lengths = (0, 1, 7, 90, 10_000, 2**31, 2**63, 10**30)
    for length in (*lengths, -1, "abc", "1e2", "0x10", "5,5", "", "٣", "+5", "9" * 5000):
        data = _tensor([1, 3], "FP32", row, length=_latin(length))
        name = f"Inference-Header-Content-Length is {str(length)[:30]!r}"
        yield whole("lying sizes", name, data)
    for name, data in _texts_as_bytes().items():
        yield whole("lying sizes", f"BYTES: {name}", data)
    for value in (2, 128, 255):
        data = _tensor([1, 1], "BOOL", bytes([value]), name="flag", model="/v2/models/texts/infer")
        yield whole("lying sizes", f"a BOOL is the byte {value}", data)
    extra = post(INFER, _json(_GOOD) + row, {"Inference-Header-Content-Length": "99999"})
    yield whole("lying sizes", "the JSON is longer than the body", extra)
    yield whole("lying sizes", "bytes behind the JSON", post(INFER, _json(_GOOD) + row))


def _latin(value: object) -> str:
    return str(value).encode().decode("latin-1")


def _texts_as_bytes() -> dict[str, bytes]:
    def tensor(data: bytes, count: int = 2) -> bytes:
        return _tensor([count, 1], "BYTES", data, name="text", model="/v2/models/texts/infer")

    def prefixed(length: int, text: bytes) -> bytes:
        return struct.pack("<I", length) + text

    right = prefixed(2, b"ab")
    return {
        "no element": tensor(b""),
        "half a prefix": tensor(b"\1\0"),
        "one of two elements": tensor(right),
        "three of two elements": tensor(right * 3),
        "a prefix of 4 GiB": tensor(right + prefixed(2**32 - 1, b"ab")),
        "a prefix one too long": tensor(right + prefixed(3, b"ab")),
        "a prefix one too short": tensor(right + prefixed(1, b"ab")),
        "big-endian prefixes": tensor(struct.pack(">I", 2) + b"ab" + struct.pack(">I", 2) + b"cd"),
        "a billion elements": tensor(right, 10**9),
    }
