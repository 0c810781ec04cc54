"""The one row that everybody is asked for, in the forms that the peers take."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from tritonclient.grpc import service_pb2

from benchmarks.harness import mlp
from benchmarks.peers.peer import Array, Exchange, Wire
from benchmarks.wires import oip_grpc, oip_http
from benchmarks.wires.exchange import Request

MODEL = "mlp"
TOLERANCE = 1e-4
"""Batching changes low bits."""

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_JSON = {"Content-Type": "application/json"}
_ID = "row"


@functools.cache
def row() -> Array:
    """The row, [1, 64] FP32."""
    return np.random.default_rng(7).normal(0, 1, (1, 64)).astype(np.float32)


@functools.cache
def answer() -> Array:
    """What must be made of it, [1, 16] FP32: computed here."""
    return mlp.forward(row())


def protocol() -> Mapping[Wire, Exchange]:
    """The row over every wire of the Open Inference Protocol."""
    request = Request(_ID, MODEL, {mlp.INPUT: row()}, {mlp.OUTPUT: answer()})
    json, _ = oip_http.body(request, binary=False)
    binary, length = oip_http.body(request, binary=True)
    message = oip_grpc.encode(request, typed=False)
    path = f"/v2/models/{MODEL}/infer"
    blob = {"Content-Type": "application/octet-stream", oip_http.LENGTH: str(length)}
    return {
        Wire.JSON: Exchange(path=path, body=json, headers=_JSON, read=_read_http),
        Wire.BINARY: Exchange(path=path, body=binary, headers=blob, read=_read_http),
        Wire.GRPC: Exchange(
            path=_METHOD, body=message.SerializeToString(), headers={}, read=_read_grpc
        ),
    }


def plain(path: str, *, key: str = "y", rows: bool = False) -> Mapping[Wire, Exchange]:
    """The row as the JSON that one writes for a server of one's own.

    Args:
        path: of the URL.
        key: of the answer's row; empty where the answer is the array itself.
        rows: whether arrays are [n, …], not one row.
    """
    sent = row() if rows else row()[0]
    body = msgspec.json.encode({"x": sent.tolist()})
    return {Wire.JSON: Exchange(path=path, body=body, headers=_JSON, read=_reader(key))}


def framed(message: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, its length before it.

    Source: gRPC over HTTP2, Length-Prefixed-Message.
    """
    return struct.pack(">BI", 0, len(message)) + message


def golden() -> Mapping[str, Any]:
    """The row as a golden case of the load generator."""

    def tensor(name: str, array: Array) -> Mapping[str, Any]:
        return {
            "name": name,
            "datatype": "FP32",
            "shape": list(array.shape),
            "data": array.ravel().tolist(),
        }

    case = {"inputs": [tensor(mlp.INPUT, row())], "outputs": [tensor(mlp.OUTPUT, answer())]}
    return {"tolerance": TOLERANCE, "cases": [case]}


def _read_http(headers: Mapping[str, str], content: bytes) -> Array:
    return oip_http.decode(headers, content).outputs[mlp.OUTPUT].reshape(-1)


def _read_grpc(headers: Mapping[str, str], content: bytes) -> Array:
    del headers
    message = service_pb2.ModelInferResponse.FromString(content)
    return oip_grpc.decode(message).outputs[mlp.OUTPUT].reshape(-1)


def _reader(key: str) -> Callable[[Mapping[str, str], bytes], Array]:
    def read(headers: Mapping[str, str], content: bytes) -> Array:
        del headers
        found = msgspec.json.decode(content)
        return np.array(found[key] if key else found, np.float32).reshape(-1)

    return read
