"""The config.pbtxt that Triton and the gateway read, generated from a model's spec."""

from __future__ import annotations

from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from models.specification import ModelSpec
from service.protocol.datatypes import Datatype
from service.protocol.messages import TensorSpec

_HEADER = "# Generated from models/{name}.py by `python -m models record {name}`.\n"


def config_of(spec: ModelSpec) -> Any:
    """Triton's ModelConfig: everything explicit, so that nothing is left to auto-completion."""
    config = model_config_pb2.ModelConfig(
        name=spec.name,
        backend="onnxruntime",
        max_batch_size=spec.max_batch_size,
        input=[model_config_pb2.ModelInput(**_described(tensor)) for tensor in spec.inputs],
        output=[model_config_pb2.ModelOutput(**_described(tensor)) for tensor in spec.outputs],
    )
    for key, value in (
        ("lupine.default_timeout_ms", spec.default_timeout_ms),
        ("lupine.slo_p99_ms", spec.slo_p99_ms),
    ):
        config.parameters[key].string_value = str(value)
    return config


def config_text(spec: ModelSpec) -> str:
    """The text of config.pbtxt."""
    # The text format's spacing is unstable by design between releases; this is the plain one.
    return _HEADER.format(name=spec.name) + str(text_format.MessageToString(config_of(spec)))


def _described(tensor: TensorSpec) -> dict[str, Any]:
    name = "STRING" if tensor.datatype is Datatype.BYTES else tensor.datatype.name
    return {
        "name": tensor.name,
        "data_type": model_config_pb2.DataType.Value(f"TYPE_{name}"),
        "dims": tensor.shape[1:],
    }
