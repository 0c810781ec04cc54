"""Looks into an ONNX file for what must not be opened, before ONNX Runtime sees it.

Weights may lie in other files, by a path that the file names: any file of this host, then. This
walks the wire format alone and builds nothing.

Source of the field numbers: onnx.proto (ModelProto.graph 7 and .functions 25; GraphProto.node 1,
.initializer 5 and .sparse_initializer 15; NodeProto.attribute 5; AttributeProto.t 5, .g 6,
.tensors 10, .graphs 11, .sparse_tensor 22 and .sparse_tensors 23; SparseTensorProto.values 1 and
.indices 2; TensorProto.external_data 13 and .data_location 14); of the wire format: protobuf's
"Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TypeAlias

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_MOST_DEPTH = 64  # of graphs within graphs
_VARINT_BITS = 64
_EXTERNAL = 1

_Messages: TypeAlias = Mapping[int, str]
_WITHIN: Mapping[str, _Messages] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


class UnreadableError(ValueError):
    """The bytes are no protobuf message, or are nested beyond sense."""


def external_tensors(content: memoryview) -> int:
    """How many tensors of a model keep their values in another file.

    Raises:
        UnreadableError: the bytes are no ONNX model.
    """
    found, graphs = 0, 0
    waiting: list[tuple[str, memoryview, int]] = [("model", content, 0)]
    while waiting:
        kind, message, depth = waiting.pop()
        if depth > _MOST_DEPTH:
            raise UnreadableError(f"graphs are nested more than {_MOST_DEPTH} deep")
        graphs += kind == "graph"
        outside = False
        for number, value in _fields(message):
            within = _WITHIN[kind].get(number)
            if within is not None and isinstance(value, memoryview):
                waiting.append((within, value, depth + 1))
            elif kind == "tensor" and (
                number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value == _EXTERNAL)
            ):
                outside = True
        found += outside
    if not graphs:
        raise UnreadableError("there is no graph in it")
    return found


def external_tensors_of(path: Path) -> int:
    """The same for a file, of which only the pages that are looked at come into memory.

    Raises:
        UnreadableError: it is no ONNX model.
    """
    if not path.stat().st_size:  # nothing can be mapped of it
        raise UnreadableError("it is empty")
    with path.open("rb") as file:
        return external_tensors(memoryview(mmap(file.fileno(), 0, access=ACCESS_READ)))


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            width, at = _varint(message, at)
        elif wire in _WIDTHS:
            width = _WIDTHS[wire]
        else:
            raise UnreadableError(f"wire type {wire} is none of protobuf's")
        if at + width > len(message):
            raise UnreadableError("it ends in the middle of a field")
        yield number, message[at : at + width]
        at += width


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _VARINT_BITS + 6, 7):
        if at >= len(message):
            raise UnreadableError("it ends in the middle of a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says "more follows"
            return value, at
    raise UnreadableError("a number is longer than 64 bits")
