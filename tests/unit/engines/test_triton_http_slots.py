"""Runs over HTTP whose inputs lie in shared memory, against a server that reads them there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count

import numpy as np
import pytest

from service.engines.shared_memory import Sharing, Slots
from service.engines.triton_http import HttpRuns
from service.errors import EngineError, InvalidRequestError, UnavailableError
from service.wires.slot_file import FOLDER, Worker
from tests.slots import clean_gateway, files
from tests.unit.engines.test_triton_http import Server, doubled, response

ROWS = [float(number) for number in range(100_000)]
DOUBLED = [2 * value for value in ROWS]


class SharingServer(Server):
    """Doubles what lies in the regions that it knows, and what comes inline."""

    def __init__(self) -> None:
        super().__init__()
        self.regions: set[str] = set()
        self.used: set[str] = set()
        self.inline = 0
        self.fallbacks: list[str] = []
        self.reply = self.double

    def double(self, head: bytes, body: bytes) -> bytes:
        """Its reply."""
        (x,) = json.JSONDecoder().raw_decode(body.decode("latin-1"))[0]["inputs"]
        region = x["parameters"].get("shared_memory_region")
        if region is None:
            self.inline += 1
            return doubled(head, body)
        if region not in self.regions:
            error = {"error": f"Unable to find shared memory region: '{region}'"}
            return response(json.dumps(error).encode(), status="400 Bad Request")
        begin = x["parameters"]["shared_memory_offset"]
        data = (FOLDER / region).read_bytes()[begin:][: x["parameters"]["shared_memory_byte_size"]]
        header = json.dumps({"inputs": []}).encode()
        head = f"inference-header-content-length: {len(header)}\r\n\r\n".encode()
        return doubled(head, header + data)

    async def register(self, name: str, size: int) -> None:
        """It knows it."""
        assert (FOLDER / name).stat().st_size == size
        self.regions.add(name)

    async def unregister(self, name: str) -> None:
        """It knows it no more."""
        if name in self.used:
            raise InvalidRequestError("in use")
        self.regions.discard(name)

    def shared_memory_used(self) -> None:
        """Nobody asks."""

    def shared_memory_fallback(self, reason: str) -> None:
        """Kept."""
        self.fallbacks.append(reason)


@pytest.fixture
async def server() -> AsyncIterator[SharingServer]:
    """Listening, with runs at it that have had a slot already; nothing is left in the end."""
    with clean_gateway() as gateway:
        found = SharingServer()
        listening = await asyncio.start_server(found.serve, "127.0.0.1", 0)
        host, port = listening.sockets[0].getsockname()
        sharing = Sharing(owner=Worker(gateway, "00000000"), budget=1 << 20, observer=found)
        slots = Slots(found, sharing, count())
        found.runs = HttpRuns(f"{host}:{port}", slots)
        await until_shared(found)
        yield found
        found.open.set()
        found.used.clear()
        found.runs.close()
        await slots.close()
        listening.close()
        await asyncio.sleep(0.01)
        assert not files(gateway)


async def until_shared(server: SharingServer) -> None:
    """Run until nothing goes inline any more."""
    for _ in range(500):
        before = server.inline
        assert await server.ask(*ROWS) == DOUBLED
        if server.inline == before:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(server.fallbacks)


async def test_a_batch_goes_through_one_slot(server: SharingServer) -> None:
    """And what is small beside it does not."""
    before = server.inline
    assert await server.ask_for([ROWS, [7.0], ROWS]) == [*DOUBLED, 14.0, *DOUBLED]
    assert server.inline == before
    assert await server.ask(1) == [2]
    assert server.inline == before + 1


async def test_a_run_that_is_given_up_takes_its_slot_with_it(server: SharingServer) -> None:
    """What Triton may read still is not written again, and the next run goes inline."""
    server.open.clear()
    asked = asyncio.ensure_future(server.ask(*ROWS))
    await asyncio.sleep(0.05)
    (name,) = server.used = set(server.regions)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    before = (FOLDER / name).read_bytes()
    server.open.set()
    assert await server.ask(*np.ones(100_000)) == [2.0] * 100_000
    assert server.fallbacks[-1] == "full"
    assert (FOLDER / name).read_bytes() == before
    server.used = set()
    await until_shared(server)
    assert name not in server.regions
    assert not (FOLDER / name).exists()


async def test_a_lost_connection_takes_the_slot_with_it(server: SharingServer) -> None:
    """Nobody knows what Triton does with it."""
    (name,) = server.regions
    server.reply = lambda *_: b""
    with pytest.raises(UnavailableError):
        await server.ask(*ROWS)
    server.reply = server.double
    await until_shared(server)
    assert name not in server.regions


async def test_a_slot_that_triton_has_forgotten_costs_nobody_an_answer(
    server: SharingServer,
) -> None:
    """The run goes again, inline, and the next has a new slot."""
    (name,) = server.regions
    server.regions.clear()
    assert await server.ask(*ROWS) == DOUBLED
    assert server.fallbacks[-1] == "lost"
    await until_shared(server)
    assert name not in server.regions


async def test_a_run_that_fails_gives_its_slot_back(server: SharingServer) -> None:
    """It was answered."""
    before = set(server.regions)
    server.reply = lambda *_: response(b'{"error": "because"}', status="500 Internal Server Error")
    for _ in range(3):
        with pytest.raises(EngineError, match="because"):
            await server.ask(*ROWS)
    server.reply = server.double
    inline = server.inline
    assert await server.ask(*ROWS) == DOUBLED
    assert (server.inline, server.regions) == (inline, before)
