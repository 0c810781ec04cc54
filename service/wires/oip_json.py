"""Inference requests and responses as the HTTP wire carries them: JSON, binary tensors, or both.

Source: the Open Inference Protocol v2 (required_api.md, KServe) and Triton's binary tensor data
extension: the JSON comes first, its length in a header, then the binary tensors in the order
in which the JSON names them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec

from service.errors import InvalidRequestError
from service.protocol.datatypes import Datatype
from service.protocol.messages import InferRequest, InferResponse, Parameter, Tensor
from service.wires import json_tensors, tensors
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
    timeout_of,
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


_MEMORABLE = 1024  # bytes of JSON
_MAX_REMEMBERED = 1024
_ID = b'"id":"'
_PLAIN = re.compile(rb"[\x20-\x5b\x5d-\x7e]+")  # no escapes
_decoder = msgspec.json.Decoder(_Request)
_encoder = msgspec.json.Encoder()


Parts = Sequence[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Form:
    """How the client wants outputs: `binary` says it of the named ones, `default` of others."""

    binary: Mapping[str, bool]
    default: bool


JSON = Form({}, default=False)
"""All outputs in the JSON."""


def decode_request(
    body: memoryview,
    *,
    model: str,
    version: str,
    header_length: int | None,
    timeout: float | None = None,
    key: str = "",
) -> tuple[InferRequest, Form]:
    """One request out of a (decompressed) HTTP body.

    Args:
        body: JSON, followed by the binary tensors.
        model: the name in the path.
        version: the version in the path, or empty.
        header_length: bytes of JSON as `Inference-Header-Content-Length` says; None: all of it.
        timeout: seconds that the request's headers allow; the earlier of it and the
            `timeout` parameter (microseconds) becomes the deadline.
        key: that meets the same canary each time, as the request's headers say.

    Raises:
        InvalidRequestError: the bytes are not such a request, and where.
    """
    if header_length is not None and not 0 <= header_length <= len(body):
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {header_length}, the body has {len(body)} bytes"
        )
    split = len(body) if header_length is None else header_length
    layout = _remembered(bytes(body[:split])) if split <= _MEMORABLE else _layout(body[:split])
    return (
        InferRequest(
            model=model,
            version=version,
            id=layout.id,
            key=key,
            inputs=_inputs(layout, body, split),
            outputs=layout.outputs,
            parameters=layout.parameters,
            deadline=deadline_of(layout.timeout, timeout),
            priority=layout.priority,
        ),
        layout.form,
    )


@dataclass(frozen=True, slots=True)
class _Binary:
    """An input whose bytes follow the JSON."""

    datatype: Datatype
    shape: tuple[int, ...]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What the JSON of a request says."""

    id: str
    inputs: Mapping[str, _Binary | Tensor]
    outputs: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    timeout: float | None  # seconds
    priority: int
    form: Form


def _remembered(json: bytes) -> _Layout:
    """The layout of a short JSON. But for its id, a client of binary tensors repeats it."""
    without, identity = _apart(json)
    layout = _layouts.get(without)
    if layout is not None:
        return replace(layout, id=identity) if identity else layout
    layout = _layout(json)
    # The one "id" that there is may belong to something else, or say something else than it looks.
    if layout.id == identity and all(isinstance(i, _Binary) for i in layout.inputs.values()):
        if len(_layouts) >= _MAX_REMEMBERED:
            _layouts.clear()
        _layouts[without] = layout
    return layout


def _apart(json: bytes) -> tuple[bytes, str]:
    """A JSON without the value of its id, and that value, where both are plain to see."""
    begin = json.find(_ID)
    if begin < 0 or json.count(b'"id"') != 1 or b"\\" in json:
        return json, ""
    begin += len(_ID)
    end = json.find(b'"', begin)
    value = json[begin:end]
    if not 0 < len(value) <= MAX_ID or not _PLAIN.fullmatch(value):
        return json, ""
    return b"%b\0%b" % (json[:begin], json[end:]), value.decode()


def _layout(json: bytes | memoryview) -> _Layout:
    try:
        parsed = _decoder.decode(json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"the request's JSON: {json_tensors.reason(error)}") from None
    check_count("inputs", len(parsed.inputs), MAX_TENSORS)
    check_count("outputs", len(parsed.outputs), MAX_TENSORS)
    inputs: dict[str, _Binary | Tensor] = {}
    for item in parsed.inputs:
        if item.name in inputs:
            raise InvalidRequestError(f"input {item.name!r} is given twice")
        inputs[item.name] = _input(item)
    return _Layout(
        id=parsed.id,
        inputs=inputs,
        outputs=output_names([output.name for output in parsed.outputs]),
        parameters=passed_on(parsed.parameters),
        timeout=timeout_of(parsed.parameters),
        priority=whole(parsed.parameters, "priority"),
        form=_form(parsed),
    )


def _input(item: _Input) -> _Binary | Tensor:
    datatype = Datatype.named(item.datatype)
    refuse_what_is_not_offered(item.parameters, f"input {item.name!r}")
    if "binary_data_size" in item.parameters:
        if len(item.data):
            raise InvalidRequestError(
                f"input {item.name!r} has both 'data' and the parameter 'binary_data_size': "
                "one of them is expected"
            )
        return _Binary(datatype, tuple(item.shape), whole(item.parameters, "binary_data_size"))
    if not len(item.data):
        raise InvalidRequestError(
            f"input {item.name!r} has no data: 'data' or 'binary_data_size' is expected"
        )
    return json_tensors.decode(item.name, datatype, item.shape, item.data)


def _inputs(layout: _Layout, body: memoryview, at: int) -> dict[str, Tensor]:
    """The tensors: those in the JSON, and views on what follows it from `at` on, in its order."""
    first = at
    found: dict[str, Tensor] = {}
    for name, item in layout.inputs.items():
        if isinstance(item, Tensor):
            found[name] = item
            continue
        if item.size > len(body) - at:
            raise InvalidRequestError(
                f"input {name!r}: 'binary_data_size' is {item.size}, "
                f"{len(body) - at} bytes are left in the body"
            )
        found[name] = tensors.decode(name, item.datatype, item.shape, body[at : at + item.size])
        at += item.size
    if left := len(body) - at:
        raise InvalidRequestError(
            f"{left} bytes follow the last binary tensor: the inputs' 'binary_data_size' "
            f"add up to {at - first}"
        )
    return found


def _form(parsed: _Request) -> Form:
    default = truth(parsed.parameters, "binary_data_output", default=False)
    for output in parsed.outputs:
        refuse_what_is_not_offered(output.parameters, f"output {output.name!r}")
    return Form(
        {o.name: truth(o.parameters, "binary_data", default=default) for o in parsed.outputs},
        default,
    )


_layouts: dict[bytes, _Layout] = {}


def header_length(given: bytes) -> int:
    """The number in `Inference-Header-Content-Length`.

    Raises:
        InvalidRequestError: it is none.
    """
    if not given.isdigit() or len(given) > 18:  # noqa: PLR2004 - 64 bits
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {given.decode('latin-1')!r:.60}: "
            "a whole number is expected"
        )
    return int(given)


def encode_response(response: InferResponse, form: Form) -> tuple[Parts, int | None]:
    """The HTTP body in parts, and the length of its JSON where binary tensors follow it.

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
            item["data"] = json_tensors.encode(name, tensor)
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
    return [header, *blobs], len(header) if blobs else None
