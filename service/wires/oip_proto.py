"""Requests and responses as the protobuf messages of the Open Inference Protocol carry them.

Source: grpc_service.proto (KServe, Triton), as `tritonclient` ships it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from service.errors import EngineError, InvalidRequestError
from service.protocol.datatypes import Datatype
from service.protocol.messages import InferRequest, InferResponse, Parameter, Servable, Tensor
from service.protocol.span import Span
from service.wires import oip_request, protobuf_fields, tensors
from service.wires.oip_request import (
    MAX_ID,
    MAX_NAME,
    MAX_PARAMETERS,
    MAX_RANK,
    MAX_SIZE,
    MAX_TENSORS,
)

_FIELDS_LOOKED_AT = 64 << 10
"""Bytes of a message; a smaller one cannot grow to what would hurt."""
_MAX_FIELDS = 3 * MAX_TENSORS + MAX_PARAMETERS + 8
"""Of a request with as many raw inputs, outputs and parameters as are taken, or of an input."""
_FIELDS_SEARCHED = 16  # for the id, which is the third of a message that a library has made
_ID = service_pb2.ModelInferRequest.DESCRIPTOR.fields_by_name["id"].number
_INPUTS = service_pb2.ModelInferRequest.DESCRIPTOR.fields_by_name["inputs"].number
_MAX_TYPED = 4 << 20
"""Elements in typed contents: each is a Python object on its way."""

_TYPED: dict[Datatype, str] = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}
"""The field of `InferTensorContents` for each datatype; FP16 and BF16 have none."""


def parse(kind: Any, data: bytes) -> Any:
    """A message of the protobuf class `kind` out of its bytes.

    Raises:
        InvalidRequestError: they are no such message.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InvalidRequestError(f"the bytes are no {kind.DESCRIPTOR.name}: {error}") from None


def parse_infer(data: bytes) -> Any:
    """A ModelInferRequest out of its bytes.

    Raises:
        InvalidRequestError: they are none, or have far more fields than a request has: an empty
            one takes two bytes, and twenty times as many once it is parsed.
    """
    if len(data) > _FIELDS_LOOKED_AT and protobuf_fields.exceed(data, _MAX_FIELDS, _INPUTS):
        raise InvalidRequestError(
            f"the request has more than {MAX_TENSORS} inputs or outputs, {MAX_PARAMETERS} "
            f"parameters, or an input of more than {MAX_RANK} axes"
        )
    return parse(service_pb2.ModelInferRequest, data)


def id_of(data: bytes) -> str:
    """The id in a ModelInferRequest that is refused unparsed; empty where it is not to be found."""
    found = protobuf_fields.text(data, _ID, _FIELDS_SEARCHED)
    return found if len(found) <= MAX_ID else ""


def decode_request(
    message: Any, *, timeout: float | None = None, key: str = "", span: Span | None = None
) -> InferRequest:
    """A ModelInferRequest as the data plane takes it. Raw tensors are views on the message's bytes.

    Args:
        message: the ModelInferRequest.
        timeout: seconds that the call may take; the earlier of it and the `timeout` parameter
            (microseconds) becomes the deadline.
        key: that meets the same canary each time, as the call's metadata say.
        span: the request's place in a trace.

    Raises:
        InvalidRequestError: what the message says cannot be, and where.
    """
    if len(message.id) > MAX_ID:
        raise InvalidRequestError(f"the id has {len(message.id)} characters, at most {MAX_ID} fit")
    oip_request.check_count("inputs", len(message.inputs), MAX_TENSORS)
    oip_request.check_count("outputs", len(message.outputs), MAX_TENSORS)
    given = parameters_of(message.parameters, "the request")
    for output in message.outputs:
        _check_name("output", output.name)
        oip_request.refuse_what_is_not_offered(output.parameters, f"output {output.name!r}")
    return InferRequest(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        key=key,
        inputs=_inputs(message),
        outputs=oip_request.output_names([output.name for output in message.outputs]),
        parameters=oip_request.passed_on(given),
        deadline=oip_request.deadline_of(oip_request.timeout_of(given), timeout),
        priority=oip_request.whole(given, "priority"),
        span=span,
    )


def parameters_of(given: Mapping[str, Any], where: str) -> dict[str, Parameter]:
    """The values of a map of InferParameter or ModelRepositoryParameter.

    Raises:
        InvalidRequestError: one has no value, or there are too many.
    """
    oip_request.check_count("parameters", len(given), MAX_PARAMETERS)
    found: dict[str, Parameter] = {}
    for key, parameter in given.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is None:
            raise InvalidRequestError(f"{where}: parameter {key!r:.300} has no value")
        found[key] = getattr(parameter, kind)
    return found


def _check_name(side: str, name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME:
        raise InvalidRequestError(
            f"the name of an {side} has {len(name)} characters, 1 to {MAX_NAME} are expected"
        )


def _inputs(message: Any) -> dict[str, Tensor]:
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequestError(
            f"the request has {len(message.inputs)} inputs and {len(raw)} raw_input_contents: "
            "one for each input, or none at all, are expected"
        )
    inputs: dict[str, Tensor] = {}
    for index, item in enumerate(message.inputs):
        _check_name("input", item.name)
        if item.name in inputs:
            raise InvalidRequestError(f"input {item.name!r} is given twice")
        oip_request.refuse_what_is_not_offered(item.parameters, f"input {item.name!r}")
        datatype = Datatype.named(item.datatype)
        shape = _shape(item)
        if not raw:
            inputs[item.name] = _typed(item.name, datatype, shape, item.contents)
        elif item.HasField("contents"):
            raise InvalidRequestError(
                f"input {item.name!r} has both contents and raw_input_contents: "
                "one of them is expected"
            )
        else:
            inputs[item.name] = tensors.decode(item.name, datatype, shape, raw[index])
    return inputs


def _shape(item: Any) -> tuple[int, ...]:
    if len(item.shape) > MAX_RANK:
        raise InvalidRequestError(
            f"input {item.name!r} has {len(item.shape)} axes, at most {MAX_RANK} are expected"
        )
    shape = tuple(item.shape)
    if shape and not 0 <= min(shape) <= max(shape) <= MAX_SIZE:
        raise InvalidRequestError(
            f"input {item.name!r}: shape {list(shape)}: sizes of 0 to {MAX_SIZE} are expected"
        )
    return shape


def _typed(name: str, datatype: Datatype, shape: Sequence[int], contents: Any) -> Tensor:
    field = _TYPED.get(datatype)
    if field is None:
        raise InvalidRequestError(
            f"input {name!r}: {datatype.name} has no typed contents: raw_input_contents are "
            "expected"
        )
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise InvalidRequestError(
                f"input {name!r} is {datatype.name}, whose contents belong into {field}, "
                f"not {descriptor.name}"
            )
    values = getattr(contents, field)
    if len(values) > _MAX_TYPED:
        raise InvalidRequestError(
            f"input {name!r} has {len(values)} elements in {field}, at most {_MAX_TYPED} are taken "
            "so: raw_input_contents are expected"
        )
    expected = math.prod(shape)
    if len(values) != expected:
        raise InvalidRequestError(
            f"input {name!r}: shape {list(shape)} takes {expected} elements, "
            f"{field} has {len(values)}"
        )
    array: np.ndarray[Any, Any]
    if datatype is Datatype.BYTES:
        array = np.empty(len(values), np.object_)
        array[:] = values
    else:
        array = _numbers(name, datatype, values)
    return Tensor(datatype, tensors.shaped(name, array, shape))


def _numbers(name: str, datatype: Datatype, values: Any) -> np.ndarray[Any, Any]:
    try:
        return np.fromiter(values, datatype.dtype, len(values))
    except OverflowError:
        info = np.iinfo(datatype.dtype)
        bad = next(value for value in values if not info.min <= value <= info.max)
        raise InvalidRequestError(
            f"input {name!r}: {bad} is outside {datatype.name}'s range {info.min} to {info.max}"
        ) from None


def encode_response(response: InferResponse) -> Any:
    """A ModelInferResponse, its outputs raw and in the order of the response."""
    message = service_pb2.ModelInferResponse(
        model_name=response.model,
        model_version=response.version,
        id=response.id,
        outputs=[
            service_pb2.ModelInferResponse.InferOutputTensor(
                name=name, datatype=tensor.datatype.name, shape=tensor.shape
            )
            for name, tensor in response.outputs.items()
        ],
        raw_output_contents=[bytes(tensors.encode(t)) for t in response.outputs.values()],
    )
    for key, value in response.parameters.items():
        _set(message.parameters[key], value)
    return message


def encode_request(
    servable: Servable,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    parameters: Mapping[str, Parameter],
) -> Any:
    """A ModelInferRequest for the exact version of the servable."""
    message = service_pb2.ModelInferRequest(
        model_name=servable.name,
        model_version=servable.version,
        inputs=[
            service_pb2.ModelInferRequest.InferInputTensor(
                name=name, datatype=tensor.datatype.name, shape=tensor.shape
            )
            for name, tensor in inputs.items()
        ],
        outputs=[
            service_pb2.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs
        ],
        raw_input_contents=[bytes(tensors.encode(tensor)) for tensor in inputs.values()],
    )
    for key, value in parameters.items():
        _set(message.parameters[key], value)
    return message


def _set(parameter: Any, value: Parameter) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        parameter.int64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    else:
        parameter.string_param = value


def decode_outputs(message: Any) -> dict[str, Tensor]:
    """The outputs of a ModelInferResponse.

    Raises:
        EngineError: an output is not as long as it says, or is missing. A Python backend that runs
            with the wrong NumPy answers with 0 bytes, and nothing else tells.
    """
    if len(message.outputs) != len(message.raw_output_contents):
        raise EngineError(
            f"the engine's answer is broken: it has {len(message.outputs)} outputs and "
            f"{len(message.raw_output_contents)} raw contents"
        )
    outputs = {}
    for item, raw in zip(message.outputs, message.raw_output_contents, strict=True):
        try:
            datatype = Datatype.named(item.datatype)
            outputs[item.name] = tensors.decode(item.name, datatype, tuple(item.shape), raw)
        except InvalidRequestError as error:
            raise EngineError(f"the engine's answer is broken: {error.message}") from None
    return outputs
