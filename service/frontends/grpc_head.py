"""What the header fields of a call say, and the fields of its answer.

Source: "gRPC over HTTP2" (grpc/doc/PROTOCOL-HTTP2.md), Requests and Responses; "HTTP to gRPC Status
Code Mapping" is for what is no gRPC at all.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

import grpc

from service.errors import InvalidRequestError, LupineError, TooLargeError
from service.frontends.grpc_framing import ACCEPTED, IDENTITY
from service.frontends.http2 import headers
from service.frontends.http2.faults import MalformedError
from service.frontends.http2.headers import Fields
from service.frontends.identity import KEY
from service.protocol.span import TRACEPARENT

REQUEST_ID = "x-request-id"

_TYPE = re.compile(rb"application/grpc(?:\+[^;]*)?(?:;.*)?")
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_LENGTH = re.compile(rb"[0-9]{1,19}")
_OURS = frozenset(
    {b"te", b"content-type", b"content-length", b"grpc-timeout", b"grpc-encoding",
     b"grpc-accept-encoding", b"grpc-message-type"}
)  # fmt: skip
_ON_THE_WAY_SECONDS = 0.01
_ESCAPED = re.compile(rb"[^\x20-\x24\x26-\x7e]")

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallHead:
    """A call, as its head describes it. Calls with equal heads share one.

    Args:
        path: `/package.Service/Method`.
        length: of the content, where the head says it.
        metadata: the caller's own; keys that end in -bin have bytes for values.
        timeout: seconds that the caller waits.
        encoding: of compressed messages.
        accepts: the encodings that answers may have.
        request_id: the caller's own name for the call, or nothing.
        key: the caller's name for what is to meet the same canary each time, or nothing.
        http: the status for what is no call of gRPC's; 0: it is one.
        refusal: what is wrong with it.
        traced: whether it belongs to a trace.
    """

    path: str
    length: int | None = None
    metadata: Metadata = ()
    timeout: float | None = None
    encoding: str = IDENTITY
    accepts: frozenset[str] = frozenset()
    request_id: bytes = b""
    key: str = ""
    http: int = 0
    refusal: LupineError | None = None
    traced: bool = False


def read(fields: Fields, size: int, max_bytes: int) -> CallHead:
    """The call that a request's fields describe.

    Args:
        fields: names and values, well-formed.
        size: as HTTP/2 counts the list.
        max_bytes: that it may have.

    Raises:
        MalformedError: the request has no such length.
    """
    found = dict(fields)  # of a field given twice the last counts
    path = found.get(b":path", b"").decode("latin-1")
    length = _length(found.get(b"content-length"))
    if size > max_bytes:
        refusal = TooLargeError(
            f"the metadata has {size} bytes, as HTTP/2 counts, at most {max_bytes} are taken"
        )
        return CallHead(path=path, length=length, refusal=refusal)
    if found.get(b":method") != b"POST":
        return CallHead(path=path, length=length, http=HTTPStatus.METHOD_NOT_ALLOWED)
    if _TYPE.fullmatch(found.get(b"content-type", b"")) is None:
        return CallHead(path=path, length=length, http=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    try:
        metadata, timeout = _metadata(fields), _timeout(found.get(b"grpc-timeout"))
    except InvalidRequestError as error:
        return CallHead(path=path, length=length, refusal=error)
    accepts = found.get(b"grpc-accept-encoding", b"").decode("latin-1")
    return CallHead(
        path=path,
        length=length,
        metadata=metadata,
        timeout=timeout,
        encoding=found.get(b"grpc-encoding", IDENTITY.encode()).decode("latin-1"),
        accepts=frozenset(name.strip() for name in accepts.split(",")),
        request_id=found.get(REQUEST_ID.encode(), b""),
        key=found.get(KEY.encode(), b"").decode("latin-1"),
        traced=TRACEPARENT.encode() in found,
    )


def _length(given: bytes | None) -> int | None:
    if given is None:
        return None
    if _LENGTH.fullmatch(given) is None:
        raise MalformedError("content-length is no number")
    return int(given)


def _timeout(given: bytes | None) -> float | None:
    if given is None:
        return None
    found = _TIMEOUT.fullmatch(given)
    if found is None:
        raise InvalidRequestError(
            f"grpc-timeout is {given.decode('latin-1')!r:.60}: up to 8 digits and one of H, M, S, "
            "m, u, n are expected"
        )
    return int(found[1]) * _UNITS[found[2]]


def _metadata(fields: Fields) -> Metadata:
    found: list[tuple[str, str | bytes]] = []
    for name, value in fields:
        if name.startswith(b":") or name in _OURS:
            continue
        key = name.decode("latin-1")
        if key.endswith("-bin"):
            found += [(key, _binary(key, part)) for part in value.split(b",")]
        else:
            found.append((key, value.decode("latin-1")))
    return tuple(found)


def _binary(key: str, value: bytes) -> bytes:
    """Base64, whose padding may be left out."""
    value = value.strip()
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise InvalidRequestError(f"the metadata {key!r:.100} is no base64: {error}") from None


def is_late(timeout: float | None, left: float) -> bool:
    """Whether a client that has just gone went because its deadline passed.

    Its clock began a little earlier than ours, and its timeout is rounded up on the way: by less
    than a hundredth.

    Args:
        timeout: seconds that it said it would wait.
        left: seconds of them that are left.
    """
    return timeout is not None and left <= _ON_THE_WAY_SECONDS + timeout / 50


# ------------------------------------------------------------------ answers

_OK = ((b":status", b"200"), (b"content-type", b"application/grpc"))
_ACCEPTS = (b"grpc-accept-encoding", ACCEPTED.encode())

HEAD = headers.block((*_OK, _ACCEPTS))
"""The head of an answer whose messages are not compressed."""

_STATUS_0 = headers.literal(b"grpc-status", b"0")


def head(encoding: str) -> bytes:
    """The head of an answer whose messages may be compressed so."""
    return headers.block((*_OK, _ACCEPTS, (b"grpc-encoding", encoding.encode())))


def ok(request_id: bytes) -> bytes:
    """The trailers of an answer that went well."""
    return _STATUS_0 + headers.literal(b"x-request-id", request_id)


def failed(
    code: grpc.StatusCode,
    details: str,
    request_id: bytes,
    more: Sequence[tuple[str, str]] = (),
) -> bytes:
    """The trailers of an answer that did not.

    Behind `HEAD` in one block they are an answer of their own (Trailers-Only).

    Args:
        code: the status.
        details: the reason.
        request_id: the call's name.
        more: further trailers.
    """
    fields = (
        (b"grpc-status", b"%d" % code.value[0]),
        (b"grpc-message", escaped(details)),
        (b"x-request-id", request_id),
        *((name.encode(), value.encode()) for name, value in more),
    )
    return headers.block(fields)


def no_call(status: int) -> bytes:
    """The head, and all, of an answer to what is no call of gRPC's."""
    return headers.block(((b":status", b"%d" % status),))


def escaped(details: str) -> bytes:
    """A text as `grpc-message` carries it: percent-encoded UTF-8."""
    return _ESCAPED.sub(lambda found: b"%%%02X" % found[0][0], details.encode(errors="replace"))
