"""The pages that explain the gateway: `/docs`, its `/openapi.json`, and `/`, which leads there.

Swagger UI comes out of BentoML's own assets. BentoML's page around it loads a tracker from
elsewhere; ours loads nothing that this gateway does not serve, and the browser is told so.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from service.frontends import openapi
from service.frontends.edge import App
from service.frontends.http_body import Receive
from service.frontends.http_call import Scope, Send

PATHS = frozenset({"/", "/docs", "/openapi.json"})

_SCRIPT = """
  SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true});
"""
_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Lupine: the API</title>
  <link rel="icon" type="image/png" href="static_content/favicon-light-32x32.png">
  <link rel="stylesheet" href="static_content/swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="static_content/swagger-ui-bundle.js"></script>
  <script>{_SCRIPT}</script>
</body>
</html>
""".encode()

_OWN_SCRIPT = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src 'self' 'sha256-{_OWN_SCRIPT}'",
        "style-src 'self'",
        "img-src 'self' data:",  # Swagger UI's style sheet draws its icons so
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
).encode()
_HTML = (b"content-type", b"text/html; charset=utf-8")
_JSON = (b"content-type", b"application/json")
_GUARDS = [
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Docs:
    """An ASGI application that answers `PATHS`, around another that answers the rest.

    Args:
        app: what answers the rest.
        typed: gives BentoML's own OpenAPI document; called once, when it is first asked for.
    """

    def __init__(self, app: App, typed: Callable[[], Mapping[str, Any]]) -> None:
        self._app = app
        self._typed = typed
        self._document = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            text = f"{scope['method']} is not allowed here: GET, HEAD is expected"
            await _answer(
                send,
                HTTPStatus.METHOD_NOT_ALLOWED,
                json.dumps({"error": text}).encode(),
                _JSON,
                (b"allow", b"GET, HEAD"),
            )
        elif scope["path"] == "/":
            await _answer(send, HTTPStatus.TEMPORARY_REDIRECT, b"", (b"location", b"docs"))
        elif scope["path"] == "/docs":
            await _answer(send, HTTPStatus.OK, _PAGE, _HTML, *_GUARDS)
        else:
            if not self._document:
                self._document = json.dumps(openapi.document(self._typed())).encode()
            await _answer(send, HTTPStatus.OK, self._document, _JSON)


async def _answer(send: Send, code: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": code, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
