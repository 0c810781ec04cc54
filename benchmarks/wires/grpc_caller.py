"""gRPC callers, and what grpcio's words say of how far a request got.

The words were learned from a server that ends its connections in each possible way
(`benchmarks/wires/goaway.py` holds grpcio to them before they are relied on).
"""

from __future__ import annotations

import re
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2_grpc

from benchmarks.wires import oip_grpc
from benchmarks.wires.exchange import PATIENCE, Fate, Outcome, Request

_NO_CONNECTION = re.compile(r"failed to connect to all addresses")
_CONNECTION_REFUSED = re.compile(r"[Cc]onnection refused")
# A stream beyond the last one that a GOAWAY names: the server has not looked at it, and will not.
# One that the server had taken is told "Socket closed (GOAWAY received…" instead.
_UNPROCESSED = re.compile(r"^(Stream removed \()?GOAWAY received; Error code: 0\b")
_SHUTTING_DOWN = re.compile(r"shutting down|drain", re.IGNORECASE)
_TRANSPORT = re.compile(r"Stream removed|RST_STREAM|Socket closed|Connection reset|Broken pipe")
_ADDRESS = re.compile(r"ipv[46]:(%5B|\[)?[0-9a-f.:]+(%5D|\])?:\d+")


def channel(port: int, **options: int) -> Any:
    """A channel with a connection of its own that never sends a request twice.

    With retries on, grpcio sends a request that a GOAWAY refused once more by itself.
    """
    fixed = {"grpc.enable_retries": 0, "grpc.use_local_subchannel_pool": 1}
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=list((fixed | options).items()))


class GrpcCaller:
    """Calls ModelInfer over a channel that others may share.

    Args:
        through: the channel.
        typed: typed instead of raw contents.
    """

    def __init__(self, through: Any, *, typed: bool = False) -> None:
        self._infer = service_pb2_grpc.GRPCInferenceServiceStub(through).ModelInfer
        self._typed = typed

    async def ask(self, request: Request) -> Outcome:
        """Send one request, once, and say what became of it."""
        message = oip_grpc.encode(request, typed=self._typed)
        try:
            answer = await self._infer(message, timeout=PATIENCE)
        except grpc.aio.AioRpcError as error:
            return outcome_of(error)
        return answered(answer)


def answered(message: Any) -> Outcome:
    """The outcome of a ModelInferResponse."""
    try:
        return Outcome(Fate.ANSWERED, "OK", response=oip_grpc.decode(message))
    except (ValueError, IndexError, KeyError) as error:
        return Outcome(Fate.FAILED, "OK", f"OK with {error}")


def outcome_of(error: grpc.aio.AioRpcError) -> Outcome:
    """How far the request got that failed so.

    In doubt it is lost: only words that cannot be said of a stream that was taken excuse.
    """
    code, details = error.code(), error.details() or ""
    text = f"{code.name}: {_ADDRESS.sub('…', details)[:300]}"
    match code:
        case grpc.StatusCode.UNAVAILABLE if _NO_CONNECTION.search(details):
            refused = _CONNECTION_REFUSED.search(details)
            kind = "connection refused" if refused else "no connection"
            return Outcome(Fate.UNSENT, kind, text)
        case grpc.StatusCode.UNAVAILABLE if _UNPROCESSED.search(details):
            return Outcome(Fate.UNPROCESSED, "UNAVAILABLE", text)
        case grpc.StatusCode.UNAVAILABLE if not _TRANSPORT.search(details):
            said = _SHUTTING_DOWN.search(details)
            return Outcome(Fate.REFUSED if said else Fate.FAILED, "UNAVAILABLE", text)
        case (
            grpc.StatusCode.UNAVAILABLE
            | grpc.StatusCode.CANCELLED
            | grpc.StatusCode.UNKNOWN
            | grpc.StatusCode.DEADLINE_EXCEEDED
        ):
            return Outcome(Fate.LOST, code.name, text)
        case _:
            lost = _TRANSPORT.search(details)
            return Outcome(Fate.LOST if lost else Fate.FAILED, code.name, text)
