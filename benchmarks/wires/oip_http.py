"""Inference over HTTP as bytes: the protocol's JSON, and the binary tensor extension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from benchmarks.wires.exchange import Array, Request, Response
from benchmarks.wires.tensors import DATATYPES, DTYPES, from_bytes, to_bytes

LENGTH = "inference-header-content-length"
"""The header that says how much of a body is JSON."""


def encode(request: Request, *, binary: bool) -> bytes:
    """A whole HTTP/1.1 request: line, headers and body."""
    content, length = body(request, binary=binary)
    kind = f"application/octet-stream\r\n{LENGTH}: {length}" if binary else "application/json"
    head = (
        f"POST /v2/models/{request.model}/infer HTTP/1.1\r\nhost: gateway\r\n"
        f"content-type: {kind}\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def body(request: Request, *, binary: bool) -> tuple[bytes, int]:
    """A request's body, and how much of it is JSON."""
    blobs = [to_bytes(array) for array in request.inputs.values()] if binary else []
    inputs: list[dict[str, Any]] = []
    for i, (name, array) in enumerate(request.inputs.items()):
        item = {
            "name": name,
            "shape": array.shape,
            "datatype": DATATYPES[array.dtype.type],
        }
        if binary:
            item["parameters"] = {"binary_data_size": len(blobs[i])}
        else:
            item["data"] = _json(array)
        inputs.append(item)
    message: dict[str, Any] = {"id": request.id, "inputs": inputs}
    parameters = dict(request.parameters) | ({"binary_data_output": True} if binary else {})
    if parameters:
        message["parameters"] = parameters
    header = msgspec.json.encode(message)
    return b"".join((header, *blobs)), len(header)


def _json(array: Array) -> list[Any]:
    if array.dtype == np.object_:
        return [value.decode() for value in array.ravel()]
    found: list[Any] = array.ravel().tolist()
    return found


def decode(headers: Mapping[str, str], content: bytes) -> Response:
    """The response in an answer of status 200.

    Raises:
        ValueError: it is none.
        KeyError: a part of it is missing.
    """
    split = int(headers.get(LENGTH, len(content)))
    message = msgspec.json.decode(content[:split])
    outputs: dict[str, Array] = {}
    for item in message["outputs"]:
        size = item.get("parameters", {}).get("binary_data_size")
        if size is None:
            data = item["data"]
            if item["datatype"] == "BYTES":
                data = [value.encode() for value in data]
            array = np.array(data, DTYPES[item["datatype"]])
        else:
            array = from_bytes(item["datatype"], content[split : split + size])
            split += size
        outputs[item["name"]] = array.reshape(item["shape"])
    return Response(message.get("id", ""), outputs)
