"""What the trace and the access log need of an HTTP request."""

from __future__ import annotations

from http import HTTPStatus
from time import perf_counter
from urllib.parse import unquote

from service.frontends.http_call import Call
from service.protocol.span import TRACEPARENT, TRACESTATE, Span
from service.telemetry import Access, AccessLog, Telemetry

SPAN = "lupine.span"
"""The key under which the scope of a request to BentoML holds its span, if it has one."""

_TRACEPARENT = TRACEPARENT.encode()
_TRACESTATE = TRACESTATE.encode()


def span(call: Call, telemetry: Telemetry) -> Span | None:
    """The request's span; None where nobody would look at it, which costs next to nothing."""
    if telemetry.access_log is None and _TRACEPARENT not in call.headers:
        return None
    headers = call.scope["headers"]
    parents = [value for name, value in headers if name == _TRACEPARENT]
    states = [value for name, value in headers if name == _TRACESTATE]
    parent = parents[0].decode("latin-1") if len(parents) == 1 else None
    return telemetry.span(parent, b",".join(states).decode("latin-1"))


def write(log: AccessLog, call: Call) -> None:
    """Log a request that has ended."""
    path = call.scope["raw_path"].partition(b"?")[0].decode("latin-1")
    declared = call.text(b"content-length")
    host, port = call.scope.get("client") or ("", 0)
    access = Access(
        protocol="http",
        verb=f"{call.method} {path}",
        code=str(call.code),
        seconds=perf_counter() - call.started,
        request_id=call.request_id.decode(),
        peer=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        model=_model(path),
        version=call.version,
        request_bytes=call.received if declared is None else int(declared),
        response_bytes=call.sent,
        span=call.span,
    )
    log.write(access, failed=call.code >= HTTPStatus.BAD_REQUEST)


def _model(path: str) -> str:
    """The model that a path under /v2 names."""
    match path.split("/")[2:]:
        case ["models", "stats"]:
            return ""
        case ["models", name, *_] | ["repository", "models", name, *_]:
            return unquote(name)
        case _:
            return ""
