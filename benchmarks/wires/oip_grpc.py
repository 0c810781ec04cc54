"""Inference over gRPC as messages: raw contents, and typed ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from benchmarks.wires.exchange import Array, Request, Response
from benchmarks.wires.tensors import DATATYPES, DTYPES, from_bytes, to_bytes

_FIELDS = {
    "FP32": "fp32_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "BYTES": "bytes_contents",
}

_PARAMETERS = {
    bool: "bool_param",
    int: "int64_param",
    float: "double_param",
    str: "string_param",
}


def encode(request: Request, *, typed: bool) -> Any:
    """A ModelInferRequest."""
    message = service_pb2.ModelInferRequest(model_name=request.model, id=request.id)
    for name, value in request.parameters.items():
        setattr(message.parameters[name], _PARAMETERS[type(value)], value)
    for name, array in request.inputs.items():
        datatype = DATATYPES[array.dtype.type]
        tensor = message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if typed:
            getattr(tensor.contents, _FIELDS[datatype]).extend(array.ravel().tolist())
        else:
            message.raw_input_contents.append(to_bytes(array))
    return message


def decode(message: Any) -> Response:
    """The response in a ModelInferResponse, whichever contents it has.

    Raises:
        ValueError: it is not as long as it says.
        IndexError: it has fewer contents than outputs.
    """
    outputs: dict[str, Array] = {}
    for i, tensor in enumerate(message.outputs):
        if message.raw_output_contents:
            array = from_bytes(tensor.datatype, message.raw_output_contents[i])
        else:
            values = list(getattr(tensor.contents, _FIELDS[tensor.datatype]))
            array = np.array(values, DTYPES[tensor.datatype])
        outputs[tensor.name] = array.reshape(tuple(tensor.shape))
    return Response(message.id, outputs)
