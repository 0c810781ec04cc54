"""Inference requests and responses as the HTTP wire carries them: JSON, binary tensors, or both.

Source: the Open Inference Protocol v2 (required_api.md, KServe) and Triton's binary tensor data
extension: the JSON comes first, its length in a header, then the binary tensors in the order
in which the JSON names them.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np

from service.errors import InvalidRequestError
from service.protocol.datatypes import Datatype
from service.protocol.messages import InferRequest, InferResponse, Tensor
from service.wires import tensors
from service.wires.oip_request import (
    MAX_ID,
    MAX_NAME,
    MAX_RANK,
    MAX_SIZE,
    MAX_TENSORS,
    check_count,
    deadline_of,
    output_names,
    passed_on,
    refuse_what_is_not_offered,
    truth,
    whole,
)

_Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]


class _Input(msgspec.Struct):
    name: _Name
    shape: Annotated[list[_Size], msgspec.Meta(max_length=MAX_RANK)]
    datatype: str
    parameters: dict[str, bool | int | float | str | None] = {}
    data: msgspec.Raw = msgspec.Raw()


class _Output(msgspec.Struct):
    name: _Name
    parameters: dict[str, bool | int | float | str | None] = {}


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: Annotated[str, msgspec.Meta(max_length=MAX_ID)] = ""
    parameters: dict[str, bool | int | float | str | None] = {}
    outputs: list[_Output] = []


_NESTED = re.compile(rb"\s*\[\s*\[")
_decoder = msgspec.json.Decoder(_Request)
_encoder = msgspec.json.Encoder()

_JSON_ELEMENTS: dict[Datatype, type] = {
    datatype: float if datatype.is_float else int for datatype in Datatype
} | {Datatype.BOOL: bool, Datatype.BYTES: str}


@dataclass(frozen=True, slots=True)
class Form:
    """How the client wants outputs: `binary` says it of the named ones, `default` of others."""

    binary: Mapping[str, bool]
    default: bool


def decode_request(
    body: memoryview,
    *,
    model: str,
    version: str,
    header_length: int | None,
    timeout: float | None = None,
) -> tuple[InferRequest, Form]:
    """One request out of a (decompressed) HTTP body.

    Args:
        body: JSON, followed by the binary tensors.
        model: the name in the path.
        version: the version in the path, or empty.
        header_length: bytes of JSON as `Inference-Header-Content-Length` says; None: all of it.
        timeout: seconds that the request's headers allow; the earlier of it and the
            `timeout` parameter (microseconds) becomes the deadline.

    Raises:
        InvalidRequestError: the bytes are not such a request, and where.
    """
    if header_length is not None and not 0 <= header_length <= len(body):
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {header_length}, the body has {len(body)} bytes"
        )
    split = len(body) if header_length is None else header_length
    try:
        parsed = _decoder.decode(body[:split])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"the request's JSON: {_reason(error)}") from None
    check_count("inputs", len(parsed.inputs), MAX_TENSORS)
    check_count("outputs", len(parsed.outputs), MAX_TENSORS)
    binary = _Tail(body[split:])
    inputs: dict[str, Tensor] = {}
    for item in parsed.inputs:
        if item.name in inputs:
            raise InvalidRequestError(f"input {item.name!r} is given twice")
        inputs[item.name] = _tensor(item, binary)
    binary.check_empty()
    return (
        InferRequest(
            model=model,
            version=version,
            id=parsed.id,
            inputs=inputs,
            outputs=output_names([output.name for output in parsed.outputs]),
            parameters=passed_on(parsed.parameters),
            deadline=deadline_of(parsed.parameters, timeout),
            priority=whole(parsed.parameters, "priority"),
        ),
        _form(parsed),
    )


def _tensor(item: _Input, binary: _Tail) -> Tensor:
    datatype = Datatype.named(item.datatype)
    refuse_what_is_not_offered(item.parameters, f"input {item.name!r}")
    if "binary_data_size" in item.parameters:
        if len(item.data):
            raise InvalidRequestError(
                f"input {item.name!r} has both 'data' and the parameter 'binary_data_size': "
                "one of them is expected"
            )
        size = whole(item.parameters, "binary_data_size")
        return tensors.decode(item.name, datatype, item.shape, binary.take(item.name, size))
    if not len(item.data):
        raise InvalidRequestError(
            f"input {item.name!r} has no data: 'data' or 'binary_data_size' is expected"
        )
    return _from_json(item.name, datatype, item.shape, item.data)


class _Tail:
    """The bytes after the JSON, handed out in order."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, name: str, size: int) -> memoryview:
        left = len(self._data) - self._at
        if size > left:
            raise InvalidRequestError(
                f"input {name!r}: 'binary_data_size' is {size}, {left} bytes are left in the body"
            )
        self._at += size
        return self._data[self._at - size : self._at]

    def check_empty(self) -> None:
        if left := len(self._data) - self._at:
            raise InvalidRequestError(
                f"{left} bytes follow the last binary tensor: the inputs' 'binary_data_size' "
                f"add up to {self._at}"
            )


@functools.cache
def _nested_decoder(element: type, depth: int) -> msgspec.json.Decoder[Any]:
    kind: Any = element
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind)


def _from_json(name: str, datatype: Datatype, shape: Sequence[int], data: msgspec.Raw) -> Tensor:
    """`data` is flat, or nested as the shape is."""
    nested = len(shape) > 1 and _NESTED.match(data) is not None
    decoder = _nested_decoder(_JSON_ELEMENTS[datatype], len(shape) if nested else 1)
    try:
        values = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        form = f"nested as shape {list(shape)}" if nested else "a flat array"
        raise InvalidRequestError(
            f"input {name!r}, data, read as {form}: {_reason(error)}"
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


def _form(parsed: _Request) -> Form:
    default = truth(parsed.parameters, "binary_data_output", default=False)
    for output in parsed.outputs:
        refuse_what_is_not_offered(output.parameters, f"output {output.name!r}")
    return Form(
        {o.name: truth(o.parameters, "binary_data", default=default) for o in parsed.outputs},
        default,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)


def encode_response(response: InferResponse, form: Form) -> tuple[bytes, int | None]:
    """The HTTP body, and the length of its JSON where binary tensors follow it.

    Raises:
        InvalidRequestError: an output was asked for as JSON that JSON cannot express.
    """
    blobs: list[bytes | memoryview] = []
    outputs: list[dict[str, Any]] = []
    for name, tensor in response.outputs.items():
        item: dict[str, Any] = {
            "name": name,
            "datatype": tensor.datatype.name,
            "shape": list(tensor.shape),
        }
        if form.binary.get(name, form.default):
            blob = tensors.encode(tensor)
            item["parameters"] = {"binary_data_size": len(blob)}
            blobs.append(blob)
        else:
            item["data"] = _to_json(name, tensor)
        outputs.append(item)
    message: dict[str, Any] = {
        "model_name": response.model,
        "model_version": response.version,
        "outputs": outputs,
    }
    if response.id:
        message["id"] = response.id
    if response.parameters:
        message["parameters"] = dict(response.parameters)
    header = _encoder.encode(message)
    return (b"".join([header, *blobs]), len(header)) if blobs else (header, None)


def _to_json(name: str, tensor: Tensor) -> list[Any]:
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
