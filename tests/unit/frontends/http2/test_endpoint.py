"""The edge, over real sockets and on both event loops."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from hyperframe.frame import (
    Frame,
    GoAwayFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from service.frontends.http2.endpoint import Bounds, Endpoint
from service.frontends.http2.frames import ErrorCode
from service.frontends.http2.headers import block
from tests.http2_peer import GREETING, Recording, body, goaways, head, parsed

HEAD, TRAILERS = block([(b":status", b"200")]), block([(b"grpc-status", b"0")])
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

Scenario = Callable[[], Awaitable[None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a scenario to its end, on a loop of its own."""

    def run(scenario: Scenario) -> None:
        async def limited() -> None:
            async with asyncio.timeout(20):
                await scenario()

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(limited())

    return run


class Edge:
    """A listening server, whose connections and requests can be looked at."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.recording = Recording()
        self.peer = ("", 0)
        self.endpoints: list[Endpoint] = []
        self.gone: list[Endpoint] = []
        self.port = 0

    def made(self) -> Endpoint:
        """A connection."""

        def application(peer: tuple[str, int]) -> Recording:
            self.peer = peer
            return self.recording

        self.endpoints.append(Endpoint(application, self._bounds, self.gone.append))
        return self.endpoints[-1]

    async def told(self, what: str) -> None:
        """Wait until the application has been told of it."""
        await _until(lambda: any(told[0] == what for told in self.recording.told))

    async def left(self) -> None:
        """Wait until a connection has gone."""
        await _until(lambda: bool(self.gone))


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody else waits for such things
        await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(**bounds: float) -> AsyncIterator[Edge]:
    """A server with some bounds that are tighter than usual."""
    usual = {"handshake_seconds": 10.0, "idle_seconds": 10.0, "stall_seconds": 10.0}
    edge = Edge(Bounds(max_header_bytes=4096, **(usual | bounds)))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(edge.made, "127.0.0.1", 0)
    edge.port = server.sockets[0].getsockname()[1]
    yield edge
    server.close()
    for endpoint in edge.endpoints:
        endpoint.abort()
    await _until(lambda: len(edge.gone) == len(edge.endpoints))


@asynccontextmanager
async def connected(
    edge: Edge, data: bytes = GREETING
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that has said this."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(data)
    yield reader, writer
    writer.transport.abort()


async def everything(reader: asyncio.StreamReader) -> list[Frame]:
    """What the server sends until it closes."""
    return parsed(await reader.read())


def test_a_request_is_answered(run: Run) -> None:
    """Also one whose answer is made in a later turn of the loop."""

    async def scenario() -> None:
        async with listening() as edge, connected(edge) as (reader, writer):
            writer.write(head().serialize() + body(1, b"abc").serialize())
            await edge.told("data")
            (endpoint,) = edge.endpoints
            stream = edge.recording.streams[1]
            endpoint.http2.out.answer(stream, HEAD, b"answer", TRAILERS)
            data = b""
            while b"grpc-status" not in data:
                data += await reader.read(1000)
            assert b"answer" in data
            assert edge.peer == ("127.0.0.1", writer.get_extra_info("sockname")[1])

    run(scenario)


@pytest.mark.parametrize("said", [b"", GREETING[:10], GREETING[:24]])
def test_who_does_not_greet_in_time_is_sent_away(run: Run, said: bytes) -> None:
    """Whether it says nothing or half of it."""

    async def scenario() -> None:
        async with (
            listening(handshake_seconds=0.2) as edge,
            connected(edge, said) as (reader, _),
        ):
            assert goaways(await everything(reader)) == [ErrorCode.SETTINGS_TIMEOUT]
            await edge.left()

    run(scenario)


def test_who_is_silent_and_answers_no_ping_is_cut(run: Run) -> None:
    """And what it asked for is given up."""

    async def scenario() -> None:
        async with (
            listening(handshake_seconds=0.2, idle_seconds=0.2) as edge,
            connected(edge) as (_reader, writer),
        ):
            writer.write(head().serialize())
            await edge.told("gone")
            await edge.left()

    run(scenario)


def test_who_answers_pings_may_be_silent_for_ever(run: Run) -> None:
    """As long as it is there."""

    async def scenario() -> None:
        async with (
            listening(handshake_seconds=0.2, idle_seconds=0.1) as edge,
            connected(edge) as (reader, writer),
        ):
            end = time.monotonic() + 1.0
            pings = 0
            while time.monotonic() < end:
                for frame in parsed(await reader.read(1000)):
                    if isinstance(frame, PingFrame):
                        pings += 1
                        reply = PingFrame(0, frame.opaque_data, flags=["ACK"])
                        writer.write(reply.serialize())
            assert pings >= 3
            assert not edge.gone

    run(scenario)


def test_who_does_not_read_is_not_read_from_and_then_cut(run: Run) -> None:
    """What waits for it is bounded meanwhile."""

    async def scenario() -> None:
        async with listening(stall_seconds=0.5) as edge:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", edge.port))
            roomy = SettingsFrame(0, settings={4: 2**31 - 1}).serialize()
            client.sendall(
                GREETING
                + roomy
                + WindowUpdateFrame(0, 2**30).serialize()
                + head(ends=True).serialize()
            )
            await edge.told("open")
            (endpoint,) = edge.endpoints
            stream = edge.recording.streams[1]
            endpoint.http2.out.answer(stream, HEAD, bytes(32 << 20), TRAILERS)
            await asyncio.sleep(0.2)
            assert endpoint.http2.out.unsent > 16 << 20
            assert endpoint.transport.get_write_buffer_size() < 2 << 20
            client.sendall(head(3, ends=True).serialize())
            await edge.left()
            assert [told[1] for told in edge.recording.told if told[0] == "open"] == [1]
            client.close()

    run(scenario)


def test_what_is_wrong_is_said_before_the_connection_closes(run: Run) -> None:
    """No reset overtakes it, though more was sent than is read."""

    async def scenario() -> None:
        async with listening() as edge, connected(edge, b"GET / HTTP/1.1\r\n\r\n" * 99) as (r, w):
            w.write(b"more")
            assert goaways(await everything(r)) == [ErrorCode.PROTOCOL_ERROR]
            await edge.left()

    run(scenario)


def test_a_drained_connection_ends_with_its_last_answer(run: Run) -> None:
    """Though its client answers no PING."""

    async def scenario() -> None:
        async with listening() as edge, connected(edge) as (reader, writer):
            writer.write(head(ends=True).serialize())
            await edge.told("open")
            (endpoint,) = edge.endpoints
            endpoint.drain()
            await asyncio.sleep(1.2)
            assert not edge.gone
            stream = edge.recording.streams[1]
            endpoint.http2.out.answer(stream, HEAD, b"answer", TRAILERS)
            sent = await everything(reader)
            last = [frame.last_stream_id for frame in sent if isinstance(frame, GoAwayFrame)]
            assert last == [2**31 - 1, 1]
            assert any(getattr(frame, "data", b"") == b"answer" for frame in sent)

    run(scenario)


def test_who_closes_is_gone(run: Run) -> None:
    """And nobody waits for its answers."""

    async def scenario() -> None:
        async with listening() as edge:
            async with connected(edge) as (_reader, writer):
                writer.write(head(ends=True).serialize())
                await edge.told("open")
            await edge.told("gone")
            await edge.left()

    run(scenario)
