"""The edge of what BentoML answers: the same bounds and headers as the data plane's own paths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from service.errors import TooLargeError
from service.frontends import http_access
from service.frontends.http_body import Receive
from service.frontends.http_call import Call, Scope, Send
from service.telemetry import Telemetry

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Edge:
    """An ASGI application around another: bodies are bounded, `X-Request-Id` is answered.

    A request's span goes with its scope, and the access log has its line.

    Args:
        app: what answers.
        max_bytes: of a request's body.
        telemetry: knows whether there is an access log.
    """

    def __init__(self, app: App, *, max_bytes: int, telemetry: Telemetry) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one HTTP request through; anything else (lifespan) as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = Call(scope, receive, send)
        scope[http_access.SPAN] = call.span = http_access.span(call, self._telemetry)
        try:
            await self._pass(call)
        finally:
            if self._telemetry.access_log is not None:
                http_access.write(self._telemetry.access_log, call)

    async def _pass(self, call: Call) -> None:
        exchange = _Exchange(call, self._max_bytes)
        call.code = HTTPStatus.INTERNAL_SERVER_ERROR.value  # where the application breaks
        if int(call.headers.get(b"content-length", b"0")) <= self._max_bytes:
            await self._app(call.scope, exchange.receive, exchange.send)
        else:
            exchange.over = True
        if exchange.over and not exchange.started:
            await call.refuse(
                TooLargeError(f"the body has more than the {self._max_bytes} bytes taken")
            )


class _Exchange:
    """One request on its way through."""

    def __init__(self, call: Call, max_bytes: int) -> None:
        self._call = call
        self._max_bytes = max_bytes
        self.over = False
        self.started = False

    async def receive(self) -> MutableMapping[str, Any]:
        message = await self._call.receive()
        self._call.received += len(message.get("body", b""))
        if self._call.received > self._max_bytes:
            self.over = True
            return {"type": "http.disconnect"}  # the application gives up; we answer for it
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self.over and not self.started:
            return
        if message["type"] == "http.response.start":
            self.started = True
            self._call.code = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self._call.request_id)]
            message = {**message, "headers": headers}
        else:
            self._call.sent += len(message.get("body", b""))
        await self._call.send(message)
