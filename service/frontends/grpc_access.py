"""What the trace and the access log need of a request over gRPC."""

from __future__ import annotations

from time import perf_counter

import grpc

from service.frontends.grpc_call import Call
from service.protocol.span import TRACEPARENT, TRACESTATE, Span
from service.telemetry import Access, Telemetry


class Exchange:
    """One request and its answer: an RPC, or a message of a stream.

    Args:
        verb: the RPC's name.
        received: bytes of the request.
        span: its place in a trace.
    """

    __slots__ = ("code", "model", "received", "sent", "span", "started", "verb", "version")

    def __init__(self, verb: str, received: int, span: Span | None) -> None:
        self.started = perf_counter()
        self.verb = verb
        self.received = received
        self.span = span
        self.sent = 0  # bytes of the answer
        self.code = grpc.StatusCode.CANCELLED  # until it is answered
        self.model = ""  # as asked
        self.version = ""  # that answered


def span(call: Call, telemetry: Telemetry) -> Span | None:
    """The request's span; None where nobody would look at it, which costs next to nothing."""
    if telemetry.access_log is None and TRACEPARENT not in call.metadata:
        return None
    parents = call.given(TRACEPARENT)
    return telemetry.span(
        parents[0] if len(parents) == 1 else None, ",".join(call.given(TRACESTATE))
    )


def write(telemetry: Telemetry, call: Call, exchange: Exchange) -> None:
    """Log a request that has ended, where there is a log."""
    if telemetry.access_log is None:
        return
    access = Access(
        protocol="grpc",
        verb=exchange.verb,
        code=exchange.code.name,
        seconds=perf_counter() - exchange.started,
        request_id=call.request_id,
        peer=call.peer_name,
        model=exchange.model,
        version=exchange.version,
        request_bytes=exchange.received,
        response_bytes=exchange.sent,
        span=exchange.span,
    )
    telemetry.access_log.write(access, failed=exchange.code is not grpc.StatusCode.OK)
