"""The edge of what BentoML answers: the same bounds and headers as the data plane's own paths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from service.errors import TooLargeError
from service.frontends.http_body import Receive
from service.frontends.http_call import Call, Scope, Send

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Edge:
    """An ASGI application around another: bodies are bounded, `X-Request-Id` is answered.

    Args:
        app: what answers.
        max_bytes: of a request's body.
    """

    def __init__(self, app: App, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one HTTP request through; anything else (lifespan) as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = Call(scope, receive, send)
        exchange = _Exchange(call, self._max_bytes)
        if int(call.headers.get(b"content-length", b"0")) <= self._max_bytes:
            await self._app(scope, exchange.receive, exchange.send)
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
        self._seen = 0
        self.over = False
        self.started = False

    async def receive(self) -> MutableMapping[str, Any]:
        message = await self._call.receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._max_bytes:
            self.over = True
            return {"type": "http.disconnect"}  # the application gives up; we answer for it
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self.over and not self.started:
            return
        if message["type"] == "http.response.start":
            self.started = True
            headers = [*message.get("headers", ()), (b"x-request-id", self._call.request_id)]
            message = {**message, "headers": headers}
        await self._call.send(message)
