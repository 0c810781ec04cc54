"""Tensors as raw bytes, the form that the binary extension and gRPC share.

Source: Triton's "Binary Tensor Data Extension" (protocol/extension_binary_data.md): elements
row-major and little-endian; a BYTES element is its length as 4 bytes, unsigned, then itself.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from service.errors import InvalidRequestError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Tensor

_LENGTH = struct.Struct("<I")
_BOOL_VALUES = 2


def decode(name: str, datatype: Datatype, shape: Sequence[int], data: bytes | memoryview) -> Tensor:
    """A view on `data` as a tensor; only BYTES elements are copied.

    Raises:
        InvalidRequestError: a size is below 0, `data` is not exactly as long as shape and datatype
            say, a BOOL is neither 0 nor 1, or a BYTES element runs past the end.
    """
    if min(shape, default=0) < 0:
        raise InvalidRequestError(f"input {name!r}: shape {list(shape)} has a size below 0")
    elements = math.prod(shape)
    if datatype is Datatype.BYTES:
        return Tensor(datatype, shaped(name, _split(name, elements, data), shape))
    expected = elements * (datatype.itemsize or 0)
    if len(data) != expected:
        raise InvalidRequestError(
            f"input {name!r}: shape {list(shape)} of {datatype.name} takes {expected} bytes, "
            f"got {len(data)}"
        )
    if datatype is Datatype.BOOL:
        octets = np.frombuffer(data, np.uint8)
        if octets.size and octets.max() >= _BOOL_VALUES:
            raise InvalidRequestError(f"input {name!r}: a BOOL is the byte 0 or 1")
    return Tensor(datatype, shaped(name, np.frombuffer(data, datatype.dtype), shape))


def shaped(name: str, array: np.ndarray[Any, Any], shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """`array` with `shape`, whose sizes multiply up to the elements there are.

    Raises:
        InvalidRequestError: NumPy cannot express the shape (0 beside sizes that overflow).
    """
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise InvalidRequestError(f"input {name!r}: shape {list(shape)}: {error}") from None


def _split(name: str, elements: int, data: bytes | memoryview) -> np.ndarray[Any, Any]:
    if elements * _LENGTH.size > len(data):
        raise InvalidRequestError(
            f"input {name!r}: {elements} BYTES elements take at least "
            f"{elements * _LENGTH.size} bytes, got {len(data)}"
        )
    found = np.empty(elements, np.object_)
    offset = 0
    for i in range(elements):
        if offset + _LENGTH.size > len(data):
            raise InvalidRequestError(
                f"input {name!r}: element {i} of {elements} has no length prefix: the data ends "
                f"at byte {len(data)}"
            )
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size
        if length > len(data) - offset:
            raise InvalidRequestError(
                f"input {name!r}: element {i} of {elements} says {length} bytes, "
                f"{len(data) - offset} are left"
            )
        found[i] = bytes(data[offset : offset + length])
        offset += length
    if offset != len(data):
        raise InvalidRequestError(
            f"input {name!r}: {elements} BYTES elements end at byte {offset}, "
            f"{len(data) - offset} bytes are left over"
        )
    return found


def encode(tensor: Tensor) -> bytes | memoryview:
    """The tensor's bytes: a view where the array is already contiguous."""
    array = tensor.array
    if tensor.datatype is Datatype.BYTES:
        return b"".join(
            part for value in array.ravel() for part in (_LENGTH.pack(len(value)), value)
        )
    flat = np.ascontiguousarray(array)
    # A custom dtype such as bfloat16 has no buffer format of its own; its bytes do.
    octets: Any = flat.reshape(-1).view(np.uint8)
    return memoryview(octets)
