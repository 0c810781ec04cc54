"""Inference over HTTP as bytes: the protocol's JSON, and the binary tensor extension."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from benchmarks.wires.exchange import Array, Request, Response
from benchmarks.wires.tensors import DATATYPES, DTYPES, from_bytes, to_bytes

_LENGTH = "inference-header-content-length"


def encode(request: Request, *, binary: bool) -> bytes:
    """A whole HTTP/1.1 request: line, headers and body."""
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
    if binary:
        message["parameters"] = {"binary_data_output": True}
    header = msgspec.json.encode(message)
    body = b"".join((header, *blobs))
    kind = f"application/octet-stream\r\n{_LENGTH}: {len(header)}" if binary else "application/json"
    head = (
        f"POST /v2/models/{request.model}/infer HTTP/1.1\r\nhost: gateway\r\n"
        f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _json(array: Array) -> list[Any]:
    if array.dtype == np.object_:
        return [value.decode() for value in array.ravel()]
    found: list[Any] = array.ravel().tolist()
    return found


def decode(headers: dict[str, str], body: bytes) -> Response:
    """The response in an answer of status 200.

    Raises:
        ValueError: it is none.
        KeyError: a part of it is missing.
    """
    split = int(headers.get(_LENGTH, len(body)))
    message = msgspec.json.decode(body[:split])
    outputs: dict[str, Array] = {}
    for item in message["outputs"]:
        size = item.get("parameters", {}).get("binary_data_size")
        if size is None:
            data = item["data"]
            if item["datatype"] == "BYTES":
                data = [value.encode() for value in data]
            array = np.array(data, DTYPES[item["datatype"]])
        else:
            array = from_bytes(item["datatype"], body[split : split + size])
            split += size
        outputs[item["name"]] = array.reshape(item["shape"])
    return Response(message.get("id", ""), outputs)
