"""Where the connections of one wire come into a worker, until its door is shut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable

from service.frontends import door
from service.frontends.acceptor import Acceptor
from service.frontends.handover import Handover, Wire


class Entrance:
    """Listens from `open` to `shut`, and serves what it accepts and what others pass on.

    Args:
        wire: that is spoken here.
        handover: knows who has the fewest connections.
        connect: begins to serve a connection, and owns it.
    """

    def __init__(
        self, wire: Wire, handover: Handover, connect: Callable[[socket.socket], Awaitable[object]]
    ) -> None:
        self._wire = wire
        self._handover = handover
        self._connect = connect
        self._listeners: list[socket.socket] = []
        self._acceptors: list[Acceptor] = []
        self._connecting: set[asyncio.Future[object]] = set()

    def open(self, listeners: Iterable[socket.socket]) -> None:
        """Accept on these too, and own them."""
        for listener in listeners:
            acceptor = Acceptor(listener, self._wire, self._handover, self.serve)
            acceptor.start()
            self._listeners.append(listener)
            self._acceptors.append(acceptor)

    def serve(self, connection: socket.socket) -> None:
        """Serve a connection, whoever accepted it. Its protocol calls `closed` at its end."""
        # At once: the next one that comes in this turn of the loop may have to go elsewhere.
        self._handover.opened(self._wire)
        task = asyncio.ensure_future(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def closed(self) -> None:
        """One of those that were served has ended."""
        self._handover.closed(self._wire)

    async def shut(self, *, last: bool) -> None:
        """Take no more connections; again does nothing.

        Args:
            last: whether nobody else listens there either: those that were in the kernel's queue
                are served.
        """
        acceptors, self._acceptors = self._acceptors, []
        for acceptor in acceptors:
            acceptor.stop()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            with listener:
                if last:
                    await door.shut(listener, self.serve)
        await asyncio.gather(*self._connecting, return_exceptions=True)
