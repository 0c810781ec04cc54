"""Runs over HTTP, against a server that answers as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from service.engines import triton_http
from service.engines.triton_http import HttpRuns
from service.errors import (
    EngineError,
    InvalidRequestError,
    LupineError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from service.protocol.span import Span
from tests.unit.doubles import fp32, servable

MODEL = servable("a b", "3")
Reply = Callable[[bytes, bytes], bytes]


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def doubled(head: bytes, body: bytes) -> bytes:
    """`y` is twice `x`."""
    length = int(head.lower().split(b"inference-header-content-length: ")[1].split(b"\r\n")[0])
    x = np.frombuffer(body[length:], np.float32) * 2
    described = [
        {"name": "y", "datatype": "FP32", "shape": [len(x), 1],
         "parameters": {"binary_data_size": x.nbytes}}
    ]  # fmt: skip
    header = json.dumps({"outputs": described}).encode()
    return response(header + x.tobytes(), f"Inference-Header-Content-Length: {len(header)}")


class Server:
    """Keeps what came; answers with `reply`, once it may."""

    def __init__(self) -> None:
        self.reply: Reply = doubled
        self.heads: list[bytes] = []
        self.connections = self.ended = 0
        self.open = asyncio.Event()
        self.open.set()
        self.runs: HttpRuns

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                await self.open.wait()
                answer = self.reply(head, body)
                writer.write(answer)
                if not answer:
                    break
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone, which tests look at
        finally:
            self.ended += 1
            writer.close()

    async def ask(self, *values: float, span: Span | None = None) -> list[float]:
        """One run."""
        return await self.ask_for([values], span)

    async def ask_for(
        self, members: Sequence[Sequence[float]], span: Span | None = None
    ) -> list[float]:
        """One run of several requests."""
        inputs = [{"x": fp32([[value] for value in values])} for values in members]
        found = await self.runs.infer(MODEL, inputs, ("y",), {"a": 1}, span)
        numbers: list[float] = found["y"].array.ravel().tolist()
        return numbers


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Listening, with runs at it."""
    found = Server()
    listening = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    found.runs = HttpRuns(f"{host}:{port}")
    yield found
    found.open.set()
    found.runs.close()
    listening.close()
    await asyncio.sleep(0.01)


async def test_a_run_names_the_version_and_brings_its_outputs(server: Server) -> None:
    """The name is quoted, and the trace goes with it."""
    span = Span(trace_id="1" * 32, id="2" * 16, state="k=v")
    assert await server.ask(1, 2, span=span) == [2, 4]
    (head,) = server.heads
    assert head.startswith(b"POST /v2/models/a%20b/versions/3/infer HTTP/1.1\r\n")
    assert b"traceparent: 00-" + b"1" * 32 in head
    assert b"tracestate: k=v" in head


async def test_connections_are_used_again_and_again(server: Server) -> None:
    """As many as there were runs at once."""
    for value in range(5):
        assert await server.ask(value) == [2 * value]
    assert server.connections == 1
    assert await asyncio.gather(*(server.ask(v) for v in range(4))) == [[2 * v] for v in range(4)]
    assert await asyncio.gather(*(server.ask(v) for v in range(4))) == [[2 * v] for v in range(4)]
    assert server.connections == 4


async def test_connections_are_bounded_and_turns_are_taken(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds none free waits for one; whoever leaves meanwhile is passed over."""
    monkeypatch.setattr(triton_http, "_MAX_CONNECTIONS", 2)
    server.open.clear()
    asked = [asyncio.ensure_future(server.ask(value)) for value in range(8)]
    while server.connections < 2:  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0.001)
    asked[3].cancel()
    server.open.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found.pop(3), asyncio.CancelledError)
    assert found == [[2 * value] for value in (0, 1, 2, 4, 5, 6, 7)]
    assert server.connections == 2


async def test_a_run_that_is_given_up_takes_its_connection_with_it(server: Server) -> None:
    """Its late answer must not be taken for another's."""
    server.open.clear()
    asked = asyncio.ensure_future(server.ask(1))
    await asyncio.sleep(0.02)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    server.open.set()
    assert await server.ask(2) == [4]
    assert server.connections == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400 Bad Request", InvalidRequestError),
        ("404 Not Found", NotFoundError),
        ("500 Internal Server Error", EngineError),
        ("501 Not Implemented", UnsupportedError),
        ("503 Service Unavailable", UnavailableError),
        ("418 Teapot", EngineError),
    ],
)
async def test_a_refusal_is_the_failure_it_stands_for(
    server: Server, status: str, kind: type[LupineError]
) -> None:
    """With Triton's own words, or the status where it has none; the connection stays."""
    server.reply = lambda *_: response(b'{"error": "because"}', status=status)
    with pytest.raises(kind, match="because"):
        await server.ask(1)
    server.reply = lambda *_: response(b"<html>", status=status)
    with pytest.raises(kind, match=status[:3]):
        await server.ask(1)
    server.reply = doubled
    assert await server.ask(1) == [2]
    assert server.connections == 1


def _answers(outputs: Any, data: bytes = b"\0" * 4) -> Reply:
    header = json.dumps({"outputs": outputs}).encode()
    whole = response(header + data, f"inference-header-content-length: {len(header)}")
    return lambda *_: whole


Y = {"name": "y", "datatype": "FP32", "shape": [1, 1], "parameters": {"binary_data_size": 4}}


@pytest.mark.parametrize(
    "reply",
    [
        lambda *_: b"HTTP/9.9 what\r\n\r\n",
        lambda *_: response(b"no JSON"),
        lambda *_: response(b"{}", "inference-header-content-length: 99"),
        _answers([Y | {"parameters": {"binary_data_size": 0}}], b""),
        _answers([Y | {"parameters": {"binary_data_size": 8}}]),
        _answers([Y | {"parameters": {}}]),
        _answers([Y | {"shape": [-1, 1]}]),
        _answers([Y | {"datatype": "FP99"}]),
    ],
)
async def test_a_broken_answer_is_the_engines_failure(server: Server, reply: Reply) -> None:
    """Nothing of it is taken for an output."""
    server.reply = reply
    with pytest.raises(EngineError, match="the engine's answer is broken"):
        await server.ask(1)
    server.reply = doubled
    assert await server.ask(1) == [2]


async def test_a_server_that_goes_away_is_unavailable(server: Server) -> None:
    """In the middle of a run; the next one finds it again."""
    server.reply = lambda *_: b""
    with pytest.raises(UnavailableError, match="the connection was lost"):
        await server.ask(1)
    server.reply = doubled
    assert await server.ask(1) == [2]


async def test_an_answer_in_many_pieces_is_one(server: Server) -> None:
    """Whatever the network makes of it."""
    values = [float(number) for number in range(100_000)]
    assert await server.ask(*values) == [2 * value for value in values]


async def test_nobody_there_is_unavailable() -> None:
    """The refusal names the address."""
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
        await HttpRuns("127.0.0.1:1").infer(MODEL, [{"x": fp32([[1]])}], ("y",), {}, None)


async def test_closing_ends_what_runs(server: Server) -> None:
    """Those who wait are told."""
    server.open.clear()
    asked = asyncio.ensure_future(server.ask(1))
    await asyncio.sleep(0.02)
    server.runs.close()
    with pytest.raises(UnavailableError):
        await asked
