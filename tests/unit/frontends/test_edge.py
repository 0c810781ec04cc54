"""The edge around what BentoML answers: bodies bounded, requests named."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from service.frontends.edge import Edge
from service.frontends.http_body import Receive
from service.frontends.http_call import Call, Scope, Send
from service.telemetry import Telemetry

LIMIT = 100


async def length(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that tells how long the body is, once it has all of it."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message.get("more_body", False)
    await Call(scope, receive, send).answer(200, str(size).encode())


@pytest.fixture
async def edge() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application behind its edge."""
    transport = httpx.ASGITransport(Edge(length, max_bytes=LIMIT, telemetry=Telemetry()))
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        yield client


async def pieces(total: int) -> AsyncIterator[bytes]:
    """A body that declares no length."""
    for _ in range(total):
        yield b"x"


async def test_a_body_within_the_bound_passes_and_its_name_comes_back(
    edge: httpx.AsyncClient,
) -> None:
    """Declared or in pieces."""
    for content in (b"x" * LIMIT, pieces(LIMIT)):
        answer = await edge.post("/", content=content, headers={"X-Request-Id": "mine"})
        assert (answer.status_code, answer.text) == (200, str(LIMIT))
        assert "mine" in answer.headers["x-request-id"]


async def test_a_body_over_the_bound_is_refused_as_on_every_other_path(
    edge: httpx.AsyncClient,
) -> None:
    """413, a reason, the request's name, and the connection closed on the rest."""
    for content in (b"x" * (LIMIT + 1), pieces(LIMIT + 1)):
        answer = await edge.post("/", content=content, headers={"X-Request-Id": "mine"})
        assert answer.status_code == 413
        assert answer.json() == {"error": f"the body has more than the {LIMIT} bytes taken"}
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-request-id"] == "mine"
