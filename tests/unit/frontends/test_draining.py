"""Connections of a process that drains: who is answered, who is told to go, who is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from service.frontends import http_protocol
from service.settings import Server

_GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
_SOON = 5.0


@dataclass
class App:
    """Answers when it is let; begins its answer before that where `early` is set."""

    let: asyncio.Event = field(default_factory=asyncio.Event)
    early: bool = False

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        """Any request, read to its end."""
        while (await receive()).get("more_body"):
            pass
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", b"2")],
        }
        if self.early:
            await send(start)
        await self.let.wait()
        if not self.early:
            await send(start)
        await send({"type": "http.response.body", "body": b"ok"})


@dataclass
class Process:
    """A server in this process."""

    app: App
    server: uvicorn.Server
    port: int

    @property
    def connections(self) -> list[http_protocol.GuardedProtocol]:
        """Those that are open."""
        return list(self.server.server_state.connections)  # type: ignore[arg-type]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that the server knows."""
        known = len(self.connections)
        streams = await asyncio.open_connection("127.0.0.1", self.port)
        while len(self.connections) == known:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0.001)
        return streams

    async def asked(self, data: bytes = _GET) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which the server has read this."""
        reader, writer = await self.connect()
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.05)
        return reader, writer


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    """A server with the guarded protocol."""
    limits = getattr(http_protocol.GuardedProtocol, "limits", Server())
    http_protocol.install(Server())
    app = App()
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 - the same
        await asyncio.sleep(0.005)
    yield Process(app, server, server.servers[0].sockets[0].getsockname()[1])
    app.let.set()
    server.should_exit = True
    await serving
    http_protocol.install(limits)


async def answers(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side closes."""
    return await asyncio.wait_for(reader.read(), _SOON)


async def test_an_answer_that_is_due_says_that_it_is_the_last(process: Process) -> None:
    """The client hears it in time, and is closed after it."""
    reader, writer = await process.asked()
    http_protocol.drain(process.connections)
    process.app.let.set()
    said = await answers(reader)
    assert said.startswith(b"HTTP/1.1 200")
    assert b"connection: close\r\n" in said
    writer.close()


async def test_an_idle_connection_may_ask_once_more(process: Process) -> None:
    """It is not cut between two requests: the next answer tells it to go."""
    process.app.let.set()
    reader, writer = await process.asked()
    first = await reader.readuntil(b"ok")
    assert b"connection: close" not in first
    http_protocol.drain(process.connections)
    writer.write(_GET)
    assert b"connection: close\r\n" in await answers(reader)
    writer.close()


async def test_requests_sent_ahead_are_all_answered(process: Process) -> None:
    """The last of them says that it is the last."""
    reader, writer = await process.asked(_GET)
    http_protocol.drain(process.connections)
    writer.write(_GET * 2)
    await asyncio.sleep(0.05)
    process.app.let.set()
    said = await answers(reader)
    assert said.count(b"HTTP/1.1 200") == 3
    assert said.count(b"connection: close") == 1
    assert said.rindex(b"connection: close") > said.rindex(b"HTTP/1.1 200")
    writer.close()


async def test_an_answer_that_has_begun_is_finished(process: Process) -> None:
    """It can no longer say that it is the last, so the connection stays for one more."""
    process.app.early = True
    reader, writer = await process.asked()
    http_protocol.drain(process.connections)
    process.app.let.set()
    assert b"connection: close" not in await reader.readuntil(b"ok")
    writer.write(_GET)
    assert b"connection: close\r\n" in await answers(reader)
    writer.close()


async def test_who_is_idle_is_closed_and_who_is_not_stays(process: Process) -> None:
    """Not while a request, or part of one, is there; nor a connection that was just made."""
    process.app.let.set()
    idle, idle_writer = await process.asked()
    await idle.readuntil(b"ok")
    process.app.let.clear()
    half = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab"
    others = [await process.asked(data) for data in (_GET, _GET[:10], half)]
    others.append(await process.connect())
    assert len(process.connections) == 5
    for connection in process.connections:
        connection.close_if_idle()
    assert await answers(idle) == b""
    assert len(process.connections) == 4
    idle_writer.close()
    for _, writer in others:
        writer.close()


async def test_what_takes_too_long_is_told_so(process: Process) -> None:
    """503 with a time to try again, rather than a reset; an idle connection just ends."""
    reader, writer = await process.asked()
    other, other_writer = await process.connect()
    lost = [connection.cut("too long") for connection in process.connections]
    assert sorted(lost) == [False, True]
    said = await answers(reader)
    assert said.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1\r\n" in said
    assert b'{"error": "too long"}' in said
    assert await answers(other) == b""
    writer.close()
    other_writer.close()


async def test_who_asks_for_a_websocket_gets_http_and_hinders_no_drain(process: Process) -> None:
    """What serves WebSockets in uvicorn could neither be told to go nor be cut."""
    asking = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    reader, writer = await process.asked(_GET.removesuffix(b"\r\n") + asking)
    (connection,) = process.connections
    http_protocol.drain(process.connections)
    connection.close_if_idle()
    process.app.let.set()
    said = await answers(reader)
    assert said.startswith(b"HTTP/1.1 200")
    assert b"connection: close\r\n" in said
    writer.close()


async def test_a_body_behind_an_upgrade_is_never_taken_for_a_request(process: Process) -> None:
    """The parser skips such a body: what it holds would be answered, to whoever comes next."""
    process.app.let.set()
    asking = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(_GET)
    reader, writer = await process.asked(_GET.removesuffix(b"\r\n") + asking)
    writer.write(_GET)
    said = await answers(reader)
    assert said.startswith(b"HTTP/1.1 400")
    assert b"cannot have a body" in said
    assert said.count(b"HTTP/1.1 ") == 1
    writer.close()
