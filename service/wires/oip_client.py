"""The client's side of the HTTP wire: a run as Triton's HTTP endpoint takes and answers it.

Source: the Open Inference Protocol v2 (required_api.md, KServe) and Triton's binary tensor data
and system shared memory extensions. All tensors are binary, in both directions, but for inputs
that lie in shared memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from service.errors import EngineError, InvalidRequestError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Parameter, Tensor
from service.wires import tensors

Part = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Placed:
    """An input that lies in shared memory.

    Args:
        datatype: not BYTES.
        shape: as a tensor's.
        region: the name that Triton knows the memory by.
        offset: bytes from the beginning of the region to the first element.
        size: bytes.
    """

    datatype: Datatype
    shape: tuple[int, ...]
    region: str
    offset: int
    size: int


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, bool | int | float | str | None] = {}


class _Answer(msgspec.Struct):
    outputs: list[_Output] = []


class _Failure(msgspec.Struct):
    error: str


_decoder = msgspec.json.Decoder(_Answer)
_failures = msgspec.json.Decoder(_Failure)
_encode = msgspec.json.Encoder().encode


def encode_request(
    inputs: Mapping[str, Tensor | Placed],
    outputs: Sequence[str],
    parameters: Mapping[str, Parameter],
) -> tuple[bytes, list[Part]]:
    """The JSON of a request, and the tensors that follow it; views where they are contiguous."""
    blobs: list[Part] = []
    described: list[dict[str, Any]] = []
    for name, tensor in inputs.items():
        if isinstance(tensor, Placed):
            where: dict[str, Any] = {
                "shared_memory_region": tensor.region,
                "shared_memory_offset": tensor.offset,
                "shared_memory_byte_size": tensor.size,
            }
        else:
            blob = tensors.encode(tensor)
            blobs.append(blob)
            where = {"binary_data_size": len(blob)}
        described.append(
            {
                "name": name,
                "shape": tensor.shape,
                "datatype": tensor.datatype.name,
                "parameters": where,
            }
        )
    message: dict[str, Any] = {
        "inputs": described,
        "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
    }
    if parameters:
        message["parameters"] = parameters
    return _encode(message), blobs


def decode_outputs(body: memoryview, header_length: int | None) -> dict[str, Tensor]:
    """The outputs of an answer, as views on its body.

    Args:
        body: JSON, then the tensors.
        header_length: bytes of JSON; None: all of it, so that there is no output.

    Raises:
        EngineError: an output is not as long as it says, or is missing. A Python backend that runs
            with the wrong NumPy answers with 0 bytes, and nothing else tells.
    """
    split = len(body) if header_length is None else header_length
    if split > len(body):
        raise EngineError(
            f"the engine's answer is broken: {split} bytes of JSON in a body of {len(body)}"
        )
    try:
        described = _decoder.decode(body[:split]).outputs
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EngineError(f"the engine's answer is broken: {error}") from None
    outputs: dict[str, Tensor] = {}
    at = split
    for item in described:
        size = item.parameters.get("binary_data_size")
        if type(size) is not int or not 0 <= size <= len(body) - at:
            raise EngineError(
                f"the engine's answer is broken: output {item.name!r:.200} has "
                f"{size!r:.60} bytes, {len(body) - at} are left"
            )
        try:
            datatype = Datatype.named(item.datatype)
            outputs[item.name] = tensors.decode(
                item.name, datatype, item.shape, body[at : at + size]
            )
        except InvalidRequestError as error:
            raise EngineError(f"the engine's answer is broken: {error.message}") from None
        at += size
    return outputs


def reason(body: memoryview) -> str:
    """What an answer that is a failure says; empty where it says nothing that can be read."""
    try:
        return _failures.decode(body).error[:2000]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
