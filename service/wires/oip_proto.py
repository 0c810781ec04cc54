"""Tensors as the protobuf messages of the Open Inference Protocol carry them.

Source: grpc_service.proto (KServe, Triton), as `tritonclient` ships it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tritonclient.grpc import service_pb2

from service.errors import EngineError, InvalidRequestError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Parameter, Servable, Tensor
from service.wires import tensors


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
