"""Tensors as JSON: flat arrays, or nested as their shape is.

Source: the Open Inference Protocol v2 (required_api.md, KServe), "Tensor Data".
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from service.errors import InvalidRequestError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Tensor
from service.wires import tensors

_NESTED = re.compile(rb"\s*\[\s*\[")

_JSON_ELEMENTS: dict[Datatype, type] = {
    datatype: float if datatype.is_float else int for datatype in Datatype
} | {Datatype.BOOL: bool, Datatype.BYTES: str}


@functools.cache
def _nested_decoder(element: type, depth: int) -> msgspec.json.Decoder[Any]:
    kind: Any = element
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


def decode(name: str, datatype: Datatype, shape: Sequence[int], data: msgspec.Raw) -> Tensor:
    """A tensor out of `data`, which is flat, or nested as the shape is.

    Raises:
        InvalidRequestError: it is something else, or a number that the datatype cannot hold.
    """
    nested = len(shape) > 1 and _NESTED.match(data) is not None
    decoder = _nested_decoder(_JSON_ELEMENTS[datatype], len(shape) if nested else 1)
    try:
        values = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        form = f"nested as shape {list(shape)}" if nested else "a flat array"
        raise InvalidRequestError(
            f"input {name!r}, data, read as {form}: {reason(error)}"
        ) from None
    if nested:
        values = _flatten(name, shape, values)
    if len(values) != math.prod(shape):
        raise InvalidRequestError(
            f"input {name!r}: shape {list(shape)} takes {math.prod(shape)} elements, "
            f"got {len(values)}"
        )
    if datatype is Datatype.BYTES:
        array = np.empty(len(values), np.object_)
        array[:] = [value.encode() for value in values]
    else:
        array = _numbers(name, datatype, values)
    return Tensor(datatype, tensors.shaped(name, array, shape))


def _numbers(name: str, datatype: Datatype, values: list[Any]) -> np.ndarray[Any, Any]:
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, datatype.dtype)
    except OverflowError:
        info = np.iinfo(datatype.dtype)
        bad = next(v for v in values if not info.min <= v <= info.max)
        raise InvalidRequestError(
            f"input {name!r}: {bad!r:.40} is outside {datatype.name}'s range "
            f"{info.min} to {info.max}"
        ) from None
    if datatype.is_float and not (finite := np.isfinite(array)).all():
        # JSON has no infinity: one here is a number that the datatype cannot hold.
        bad = values[int(np.argmin(finite))]
        raise InvalidRequestError(
            f"input {name!r}: {bad!r:.40} is beyond the range of {datatype.name}"
        )
    return array


def _flatten(name: str, shape: Sequence[int], values: list[Any]) -> list[Any]:
    """Rows of rows as one row; the caller checks how many elements came out."""
    for axis, size in enumerate(shape[1:], start=1):
        if any(len(row) != size for row in values):
            raise InvalidRequestError(
                f"input {name!r}: a row of axis {axis} is not {size} long, "
                f"as shape {list(shape)} says"
            )
        values = [element for row in values for element in row]
    return values


def reason(error: Exception) -> str:
    """Why bytes are no JSON of the form expected."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)


def encode(name: str, tensor: Tensor) -> list[Any]:
    """The elements, flat.

    Raises:
        InvalidRequestError: JSON cannot express them.
    """
    if tensor.datatype is Datatype.BYTES:
        try:
            return [value.decode() for value in tensor.array.ravel()]
        except UnicodeDecodeError:
            raise InvalidRequestError(
                f"output {name!r} is not UTF-8 text, which JSON needs: "
                "ask for it with the parameter 'binary_data': true"
            ) from None
    array = tensor.array
    if tensor.datatype is Datatype.BF16:
        array = array.astype(np.float32)
    if tensor.datatype.is_float and not np.isfinite(array).all():
        raise InvalidRequestError(
            f"output {name!r} holds NaN or infinity, which JSON cannot express: "
            "ask for it with the parameter 'binary_data': true"
        )
    values: list[Any] = array.ravel().tolist()
    return values
