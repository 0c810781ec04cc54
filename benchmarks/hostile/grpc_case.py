"""One bad call: its bytes, and what the gateway may answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grpc import StatusCode

SERVICE = "inference.GRPCInferenceService"
INFER = f"/{SERVICE}/ModelInfer"
STREAM = f"/{SERVICE}/ModelStreamInfer"

Metadata = tuple[tuple[str, str | bytes], ...]

MALFORMED = StatusCode.INVALID_ARGUMENT
UNKNOWN_NAME = StatusCode.NOT_FOUND
OVER_LIMIT = StatusCode.RESOURCE_EXHAUSTED
NOT_OFFERED = StatusCode.UNIMPLEMENTED
LATE = StatusCode.DEADLINE_EXCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One bad message, in a well-formed call.

    Args:
        category: what kind of badness, a row of the table.
        name: which one.
        message: makes the bytes; lazily, for some are large.
        expected: statuses that are right.
        method: the path of the RPC.
        metadata: what goes with it.
        timeout: seconds that the caller waits; also the call's deadline.
        compressed: with gzip.
        mentions: what the details must name.
        streams: on ModelStreamInfer too, it is one message among others.
        identity: the `id` that an answer on a stream carries.
    """

    category: str
    name: str
    message: Callable[[], bytes]
    expected: frozenset[StatusCode]
    method: str = INFER
    metadata: Metadata = ()
    timeout: float = 15.0
    compressed: bool = False
    mentions: str = ""
    streams: bool = False
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Framed:
    """One call that is wrong in its HTTP/2 headers, or in how its messages are framed.

    Args:
        category: what kind of badness, a row of the table.
        name: which one.
        headers: the request's, in order; made anew for each call.
        body: makes the bytes of the DATA frames.
        expected: statuses that are right.
        may_close: a reset stream, a closed connection or an HTTP status is right as well: what
            comes is no gRPC.
        may_hang: grpc.aio answers a call whose message never came whole by nothing at all; its
            client's deadline, or going away, ends it.
        wordless: gRPC's core refuses it, and gives no reason.
        ends: whether we end our side of the stream.
    """

    category: str
    name: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: Callable[[], bytes]
    expected: frozenset[StatusCode]
    may_close: bool = False
    may_hang: bool = False
    wordless: bool = False
    ends: bool = True


Case = Call | Framed


def spoilt(
    category: str, name: str, message: Any, *expected: StatusCode, mentions: str = ""
) -> Call:
    """A ModelInferRequest that decodes; INVALID_ARGUMENT where no status is named."""
    data: bytes = message.SerializeToString()
    return Call(
        category=category,
        name=name,
        message=lambda: data,
        expected=frozenset(expected or (MALFORMED,)),
        mentions=mentions,
        streams=True,
        identity=message.id,
    )


def rpc(
    category: str,
    name: str,
    method: str,
    message: Any,
    *expected: StatusCode,
    metadata: Metadata = (),
    timeout: float = 15.0,
    mentions: str = "",
) -> Call:
    """A call of any RPC, with a message or with bytes."""
    data: bytes = message if isinstance(message, bytes) else message.SerializeToString()
    return Call(
        category=category,
        name=name,
        message=lambda: data,
        expected=frozenset(expected or (MALFORMED,)),
        method=method if method.startswith("/") else f"/{SERVICE}/{method}",
        metadata=metadata,
        timeout=timeout,
        mentions=mentions,
    )
