"""Tensors as raw bytes: little-endian and row-major, a BYTES element after its length in 4 bytes.

Source: Triton's binary tensor data extension. Written anew here: what is measured must not be the
measure.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from benchmarks.wires.exchange import Array

DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
DATATYPES: dict[Any, str] = {dtype: name for name, dtype in DTYPES.items()}
_LENGTH = struct.Struct("<I")


def to_bytes(array: Array) -> bytes:
    """The raw form of a tensor."""
    if array.dtype == np.object_:
        return b"".join(_LENGTH.pack(len(value)) + value for value in array.ravel())
    return array.tobytes()


def from_bytes(datatype: str, data: bytes) -> Array:
    """A flat array out of the raw form."""
    if datatype != "BYTES":
        return np.frombuffer(data, DTYPES[datatype])
    values, at = [], 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        values.append(data[at : at + length])
        at += length
    found = np.empty(len(values), np.object_)
    found[:] = values
    return found
