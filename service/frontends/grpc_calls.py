"""From a request's head to what answers it, and how many calls there are."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from service.errors import LupineError, ShedError, UnsupportedError
from service.frontends import grpc_head, identity, status
from service.frontends.grpc_call import Bounds, Call, shortened
from service.frontends.grpc_direct import DirectCall, DirectFrontend
from service.frontends.grpc_head import HEAD, CallHead
from service.frontends.grpc_method import Method, Streaming
from service.frontends.http2.application import Receiver
from service.frontends.http2.connection import Connection
from service.frontends.http2.headers import Fields
from service.frontends.http2.stream import Stream

_PATH = 200  # characters of one, in a reason


class Calls:
    """The calls of all connections of a worker.

    Args:
        methods: what answers, by path.
        plain: the path whose plain calls are answered directly, and what does.
        bounds: what a call may take.
        max_calls: at once.
        max_header_bytes: of a call's metadata.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        plain: tuple[str, DirectFrontend],
        bounds: Bounds,
        *,
        max_calls: int,
        max_header_bytes: int,
    ) -> None:
        self._methods = methods
        self._plain, self._direct = plain
        self._bounds = bounds
        self._max_calls = max_calls
        self._max_header_bytes = max_header_bytes
        self._open = 0
        self._idle = 0  # of them, those that nobody waits for

    @property
    def owed(self) -> int:
        """Calls that have to be answered before the end."""
        return self._open - self._idle

    def of(self, peer: tuple[str, int]) -> PeerCalls:
        """The calls of one connection.

        Args:
            peer: the address and port at its other end.
        """
        return PeerCalls(self, peer)

    def read(self, fields: Fields, size: int) -> CallHead:
        """The call that a request's fields describe."""
        return grpc_head.read(fields, size, self._max_header_bytes)

    def open(
        self,
        connection: Connection[CallHead],
        stream: Stream,
        head: CallHead,
        peer: tuple[str, int],
    ) -> Receiver:
        """A call begins."""
        if head.http:
            connection.out.headers(stream, grpc_head.no_call(head.http), ends=True)
            return _NOBODY
        method = self._methods.get(head.path)
        refusal = head.refusal
        if refusal is None and method is None:
            refusal = UnsupportedError(f"there is no method {head.path!r:.{_PATH}} here")
        if refusal is None and self._open >= self._max_calls:
            refusal = ShedError(
                f"the worker has {self._open} calls in flight, its limit: retry later",
                reason="permits",
            )
        if refusal is not None or method is None:
            _refuse(connection, stream, head, refusal)
            return _NOBODY
        self._open += 1
        if head.path == self._plain and not self._bounds.compression and self._direct.takes(head):
            return DirectCall(self._direct, connection, stream, head, self._over)
        if isinstance(method, Streaming) and not method.owed:
            self._idle += 1
        return Call(
            connection, stream, head, peer=peer, method=method, bounds=self._bounds, over=self._over
        )

    def _over(self, call: Call | DirectCall) -> None:
        self._open -= 1
        if isinstance(call, Call) and isinstance(call.method, Streaming) and not call.method.owed:
            self._idle -= 1


class PeerCalls:
    """The calls of one connection; what HTTP/2 calls its application."""

    def __init__(self, calls: Calls, peer: tuple[str, int]) -> None:
        self._calls = calls
        self._peer = peer

    def read(self, fields: Fields, size: int) -> CallHead:
        """As `Calls` has it."""
        return self._calls.read(fields, size)

    def open(self, connection: Connection[CallHead], stream: Stream, head: CallHead) -> Receiver:
        """A call begins."""
        return self._calls.open(connection, stream, head, self._peer)


def _refuse(
    connection: Connection[CallHead], stream: Stream, head: CallHead, error: LupineError | None
) -> None:
    assert error is not None  # noqa: S101 - for the type checker
    code: grpc.StatusCode = status.GRPC[type(error)]
    block = grpc_head.failed(
        code,
        shortened(error.message),
        identity.request_id(head.request_id),
        status.pushback(error),
    )
    connection.out.headers(stream, HEAD + block, ends=True)


class _Nobody:
    """Takes the rest of what has been answered already."""

    def data(self, data: bytes, *, ends: bool) -> None:
        """Nobody reads it."""

    def gone(self) -> None:
        """Nobody waits."""

    def writable(self) -> None:
        """Nobody writes."""


_NOBODY = _Nobody()
