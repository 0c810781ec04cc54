"""One HTTP request as a frontend sees it: what it asks with, and how it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from http import HTTPStatus
from time import perf_counter
from typing import Any

import msgspec

from service.errors import InvalidRequestError, LupineError, TooLargeError
from service.frontends import identity, status
from service.frontends.http_body import ClientGoneError, Receive
from service.frontends.http_protocol import CONNECTION, GuardedProtocol
from service.protocol.span import Span

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
CLIENT_GONE = 499
"""As nginx has it: the client closed the connection before it was answered."""

encode = msgspec.json.Encoder().encode


class MethodNotAllowedError(InvalidRequestError):
    """The path exists; the method is another one."""

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{method} is not allowed here: {allowed} is expected")
        self.allowed = allowed


class Call:
    """One request, and its way back."""

    __slots__ = (
        "_connection",
        "code",
        "headers",
        "method",
        "peer",
        "receive",
        "received",
        "request_id",
        "scope",
        "send",
        "sent",
        "span",
        "started",
        "version",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started = perf_counter()
        self.scope = scope
        self.method: str = scope["method"]
        # Of a header given twice the last counts; none of those read here has a list for a value.
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.peer: str = (scope.get("client") or ("",))[0]
        self.receive = receive
        self.send = send
        self.request_id = identity.request_id(self.headers.get(b"x-request-id", b""))
        self._connection: GuardedProtocol | None = scope.get(CONNECTION)
        self.span: Span | None = None
        self.code = CLIENT_GONE  # until it is answered
        self.version = ""  # of the model that answered
        self.received = self.sent = 0  # bytes of the bodies

    def text(self, name: bytes) -> str | None:
        """A header's value, by its lower-case name."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def allow(self, *methods: str) -> None:
        """Let GET stand for HEAD too.

        Raises:
            MethodNotAllowedError: the request has another method.
        """
        allowed = (*methods, "HEAD") if "GET" in methods else methods
        if self.method not in allowed:
            raise MethodNotAllowedError(self.method, ", ".join(allowed))

    @contextmanager
    def while_connected(self) -> Iterator[None]:
        """Give the work up when the client hangs up: nobody waits for it.

        Raises:
            ClientGoneError: the client has gone.
        """
        if self._connection is None:  # a server that does not tell
            yield
            return
        # Named, the loop need not be found by a system call.
        task = asyncio.current_task(self._connection.loop)
        if task is None:
            raise RuntimeError("an HTTP request is answered outside of any task")
        if self._is_gone():
            raise ClientGoneError
        self._connection.when_gone = task.cancel
        try:
            yield
        except asyncio.CancelledError:
            if not self._is_gone():
                raise
            task.uncancel()
            raise ClientGoneError from None
        finally:
            self._connection.when_gone = None

    def _is_gone(self) -> bool:
        return self._connection is not None and self._connection.gone

    async def answer(self, code: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        """Send a whole answer."""
        self.code, self.sent = code, len(body)
        await self.send(
            {
                "type": "http.response.start",
                "status": code,
                "headers": [
                    *headers,
                    (b"content-length", str(len(body)).encode()),
                    (b"x-request-id", self.request_id),
                ],
            }
        )
        await self.send({"type": "http.response.body", "body": body})

    async def reply(self, value: Any, code: int = HTTPStatus.OK) -> None:
        """Answer with JSON."""
        await self.answer(code, encode(value), JSON)

    async def refuse(self, error: LupineError) -> None:
        """Answer with a failure: its status, its reason, and what else it calls for."""
        headers: Headers = [JSON]
        headers += [(k.encode(), v.encode()) for k, v in status.retry_after(error).items()]
        if isinstance(error, MethodNotAllowedError):
            headers.append((b"allow", error.allowed.encode()))
        if isinstance(error, TooLargeError):
            headers.append((b"connection", b"close"))  # the rest of the body is not worth reading
        await self.answer(code_of(error), encode({"error": error.message}), *headers)


def code_of(error: LupineError) -> int:
    """The status of a failure on this wire."""
    if isinstance(error, MethodNotAllowedError):
        return HTTPStatus.METHOD_NOT_ALLOWED
    return status.HTTP[type(error)]
