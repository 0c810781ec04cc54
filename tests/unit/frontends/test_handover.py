"""Connections go to the worker that has the fewest."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from service.frontends.acceptor import Acceptor
from service.frontends.handover import Handover, Wire


class Worker:
    """A share, and the connections that it serves."""

    def __init__(self, run_dir: Path, workers: int) -> None:
        self.share = Handover(run_dir, workers)
        self.served: list[tuple[Wire, socket.socket]] = []

    def join(self) -> None:
        """Take part."""
        self.share.join({wire: partial(self.serve, wire) for wire in Wire})

    def serve(self, wire: Wire, connection: socket.socket) -> None:
        """Keep one."""
        self.share.opened(wire)
        self.served.append((wire, connection))

    def accept(self, wire: Wire = Wire.HTTP) -> socket.socket:
        """One comes in here; its client's end."""
        ours, theirs = socket.socketpair()
        if not self.share.passed_on(wire, ours):
            self.serve(wire, ours)
        return theirs

    def close(self, wire: Wire = Wire.HTTP) -> None:
        """One of those that it serves ends."""
        found = next(item for item in self.served if item[0] is wire)
        self.served.remove(found)
        found[1].close()
        self.share.closed(wire)

    def count(self, wire: Wire = Wire.HTTP) -> int:
        """How many it serves."""
        return sum(item[0] is wire for item in self.served)


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Callable[[int], list[Worker]]]:
    """Makes so many workers that share their connections."""
    made: list[Worker] = []

    def make(count: int) -> list[Worker]:
        for _ in range(count):
            worker = Worker(tmp_path, count)
            worker.join()
            made.append(worker)
        return made

    yield make
    for worker in made:
        worker.share.leave()
        for _, connection in worker.served:
            connection.close()


async def turn() -> None:
    """Let what was sent arrive."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_all_that_come_to_one_are_spread(team: Callable[[int], list[Worker]]) -> None:
    """However they come, at any moment no worker has two more than another."""
    workers = team(3)
    clients = [workers[0].accept() for _ in range(9)]
    await turn()
    assert [worker.count() for worker in workers] == [3, 3, 3]
    for client in clients:
        client.close()


async def test_a_connection_that_was_passed_on_still_works(
    team: Callable[[int], list[Worker]],
) -> None:
    """What the client has sent meanwhile is there, and it is told nothing of the move."""
    first, second = team(2)
    clients = [first.accept(), first.accept()]
    clients[1].sendall(b"hello")
    await turn()
    ((_, connection),) = second.served
    connection.settimeout(5)
    assert connection.recv(5) == b"hello"
    connection.sendall(b"welcome")
    clients[1].settimeout(5)
    assert clients[1].recv(7) == b"welcome"
    for client in clients:
        client.close()


async def test_the_wires_are_counted_apart(team: Callable[[int], list[Worker]]) -> None:
    """Many connections of one say nothing of the other."""
    first, second = team(2)
    clients = [first.accept(Wire.GRPC) for _ in range(4)] + [first.accept(Wire.HTTP)]
    await turn()
    assert (first.count(Wire.GRPC), second.count(Wire.GRPC)) == (2, 2)
    assert (first.count(Wire.HTTP), second.count(Wire.HTTP)) == (1, 0)
    for client in clients:
        client.close()


async def test_one_that_ends_makes_room_for_the_next(team: Callable[[int], list[Worker]]) -> None:
    """What counts is what is open now."""
    first, second = team(2)
    clients = [first.accept() for _ in range(4)]
    await turn()
    second.close()
    clients.append(first.accept())
    await turn()
    assert (first.count(), second.count()) == (2, 2)
    for client in clients:
        client.close()


async def test_a_worker_that_leaves_serves_what_was_on_its_way(
    team: Callable[[int], list[Worker]],
) -> None:
    """And gets nothing more."""
    first, second = team(2)
    clients = [first.accept() for _ in range(4)]
    second.share.leave()  # before the loop has had a turn
    assert (first.count(), second.count()) == (2, 2)
    clients += [first.accept() for _ in range(4)]
    await turn()
    assert (first.count(), second.count()) == (6, 2)
    for client in clients:
        client.close()


async def test_what_a_dead_worker_cannot_take_stays(tmp_path: Path) -> None:
    """It says that it serves, and nobody is there: whoever accepted serves."""
    first, second = Worker(tmp_path, 2), Worker(tmp_path, 2)
    first.join()
    second.join()
    dead = second.share._socket
    assert dead is not None
    asyncio.get_running_loop().remove_reader(dead)
    dead.close()
    clients = [first.accept() for _ in range(4)]
    assert first.count() == 4
    first.share.leave()
    for client in clients:
        client.close()
    for _, connection in first.served:
        connection.close()


async def test_who_takes_a_dead_workers_place_begins_with_nothing(tmp_path: Path) -> None:
    """What was on its way to the dead one does not count for ever."""
    first, second = Worker(tmp_path, 2), Worker(tmp_path, 2)
    first.join()
    second.join()
    clients = [first.accept() for _ in range(4)]  # two wait for `second`, which dies
    dead = second.share
    assert dead._socket is not None
    asyncio.get_running_loop().remove_reader(dead._socket)
    dead._socket.close()
    os.close(dead._lock)
    third = Worker(tmp_path, 2)
    third.join()
    clients += [first.accept() for _ in range(3)]
    await turn()
    assert (first.count(), third.count()) == (3, 2)
    for worker in (first, third):
        worker.share.leave()
        for _, connection in worker.served:
            connection.close()
    for client in clients:
        client.close()


async def test_alone_everything_is_kept(tmp_path: Path) -> None:
    """A gateway of one worker needs no table."""
    alone = Worker(tmp_path, 1)
    alone.join()
    client = alone.accept()
    assert alone.count() == 1
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a test's own folder
    alone.share.leave()
    alone.close()
    client.close()


async def test_an_acceptor_spreads_what_comes_at_once(
    team: Callable[[int], list[Worker]],
) -> None:
    """More than it accepts in a turn, over real sockets."""
    first, second = team(2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = Acceptor(listener, Wire.HTTP, first.share, partial(first.serve, Wire.HTTP))
        acceptor.start()
        clients = [socket.create_connection(listener.getsockname()) for _ in range(20)]
        async with asyncio.timeout(10):
            while first.count() + second.count() < len(clients):  # noqa: ASYNC110 - a socket comes
                await asyncio.sleep(0.001)
        acceptor.stop()
    assert (first.count(), second.count()) == (10, 10)
    for client in clients:
        client.close()
