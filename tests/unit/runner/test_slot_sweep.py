"""What the guardian does about shared memory that killed workers have left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.file_lock import is_held
from service.runner.slot_sweep import SlotSweep
from service.wires.slot_file import Guard, SlotFile, Worker
from tests.slots import files, own_folder

OURS, OTHERS, GUARDED = "a" * 12, "b" * 12, "c" * 12


@pytest.fixture
def folder() -> Iterator[Path]:
    """In shared memory; the test leaves nothing in it."""
    with own_folder() as made:
        yield made


def living(folder: Path, gateway: str = OURS) -> SlotFile:
    """A slot whose owner lives."""
    return SlotFile.create(Worker(gateway, "0000aaaa"), 0, 4096, folder)


def dead(folder: Path, gateway: str = OURS) -> str:
    """The name of a slot whose owner is gone."""
    slot = SlotFile.create(Worker(gateway, "0000bbbb"), 1, 4096, folder)
    slot.leave()
    return slot.name


def names(folder: Path, gateway: str = OURS) -> list[str]:
    """Of what is there."""
    return [path.name for path in files(gateway, folder)]


async def swept(sweep: SlotSweep, status: str) -> list[str]:
    """Sweep, with a server that answers so. Returns the lines of the requests that it got."""
    asked = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[0])
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        await sweep.sweep(server.sockets[0].getsockname()[1])
    return asked


async def test_what_the_dead_left_is_unregistered_and_goes(folder: Path) -> None:
    """What the living have stays."""
    kept, left = living(folder), dead(folder)
    asked = await swept(SlotSweep(OURS, folder), "200 OK")
    assert asked == [f"POST /v2/systemsharedmemory/region/{left}/unregister HTTP/1.1"]
    assert names(folder) == [kept.name]
    kept.remove()


async def test_what_a_run_reads_still_waits_for_the_next_sweep(folder: Path) -> None:
    """Its name must not be lost before."""
    left = dead(folder)
    await swept(SlotSweep(OURS, folder), "400 Bad Request")
    assert names(folder) == [left]
    await swept(SlotSweep(OURS, folder), "200 OK")
    assert names(folder) == []


async def test_a_server_that_does_not_answer_is_asked_again_later(folder: Path) -> None:
    """Nothing is lost by it."""
    left = dead(folder)
    await SlotSweep(OURS, folder).sweep(1)
    assert names(folder) == [left]
    SlotSweep(OURS, folder).triton_ended()
    assert names(folder) == []


async def test_a_start_takes_away_what_gateways_that_were_killed_left(folder: Path) -> None:
    """Its own, under an earlier guardian, and others'; not what a guardian looks after."""
    guard = Guard(GUARDED, folder)
    for gateway in (OURS, OTHERS, GUARDED):
        dead(folder, gateway)
    sweep = SlotSweep(OURS, folder)
    sweep.begin()
    assert [len(names(folder, gateway)) for gateway in (OURS, OTHERS, GUARDED)] == [0, 0, 1]
    assert is_held(folder / f"lupine-slot-{OURS}-guardian")
    sweep.end()
    guard.close()
    sweep.begin()
    assert names(folder, GUARDED) == []
    sweep.end()


async def test_the_end_of_triton_is_the_end_of_all_names(folder: Path) -> None:
    """A worker that takes its time still has its memory, and nobody could find it later."""
    sweep = SlotSweep(OURS, folder)
    sweep.begin()
    slow = living(folder)
    dead(folder)
    sweep.end()
    assert names(folder) == []
    slow.remove()
