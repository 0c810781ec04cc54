"""Doors that close while callers come, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

import pytest

from service.frontends import door

_ANSWER = b"served"
_FAMILIES = {"IPv4": (socket.AF_INET, "127.0.0.1"), "IPv6": (socket.AF_INET6, "::1")}


@pytest.fixture(params=_FAMILIES)
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A listening socket; skips where the machine has no such addresses."""
    family, address = _FAMILIES[request.param]
    try:
        found = socket.create_server((address, 0), family=family, backlog=512)
    except OSError as error:
        pytest.skip(f"{request.param}: {error}")
    with found:
        yield found


class Callers:
    """Threads that connect, ask, read the answer, and connect again, until they are refused."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._address = address
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        while True:
            try:
                with socket.create_connection(self._address, timeout=10) as connection:
                    connection.sendall(b"?")
                    answer = connection.recv(64)
                self.outcomes["served" if answer == _ANSWER else "empty"] += 1
            except ConnectionRefusedError:
                self.outcomes["refused"] += 1
                return
            except OSError as error:
                self.outcomes[repr(error)] += 1
                return


def answer(connection: socket.socket) -> None:
    """Serve one caller, at leisure."""

    def serve() -> None:
        with suppress(OSError), connection:
            connection.settimeout(10)
            connection.recv(1)
            connection.sendall(_ANSWER)

    threading.Thread(target=serve).start()


@pytest.mark.parametrize("holders", [1, 3])
async def test_a_caller_is_answered_or_refused_and_never_reset(
    listener: socket.socket, holders: int
) -> None:
    """However the connections meet the door's end, and however many workers close it at once."""
    with Callers(listener.getsockname()[:2], 8) as callers:
        await asyncio.sleep(0.05)  # some wait in the queue by now
        held = [listener.dup() for _ in range(holders)]
        await asyncio.gather(*(door.shut(each, answer) for each in held))
        for each in held:
            each.close()
    assert set(callers.outcomes) == {"served", "refused"}, callers.outcomes
    assert callers.outcomes["refused"] == 8
    assert callers.outcomes["served"] >= 8


async def test_a_door_that_somebody_else_has_shut_is_shut(listener: socket.socket) -> None:
    """A worker that comes late has nothing to do."""
    listener.shutdown(socket.SHUT_RDWR)
    async with asyncio.timeout(5):
        await door.shut(listener, answer)


async def test_without_a_filter_the_door_still_closes(listener: socket.socket) -> None:
    """Then with no wait: those in the queue are served, later ones refused."""
    with socket.create_connection(listener.getsockname()[:2], timeout=10) as queued:
        queued.sendall(b"?")
        await door.shut(listener, answer, window=0)
        assert await asyncio.to_thread(queued.recv, 64) == _ANSWER
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.getsockname()[:2], timeout=10)


def test_what_cannot_be_barred_says_so() -> None:
    """The kernel decides; nothing is raised."""
    closed = socket.socket()
    closed.close()
    assert not door.bar(closed)
