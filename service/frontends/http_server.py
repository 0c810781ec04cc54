"""The HTTP server of one worker: uvicorn, but who accepts its connections is us.

uvicorn's own way takes all that it can get whenever a worker looks, and the workers share one
listening socket: connections would be spread as it happens (`docs/adr/0021`).
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import uvicorn

from service.frontends import door
from service.frontends.acceptor import Acceptor
from service.frontends.handover import Handover, Wire


class HttpServer:
    """Takes a running uvicorn's place at its door.

    Args:
        server: has started.
        handover: knows who has the fewest connections.
    """

    def __init__(self, server: uvicorn.Server, handover: Handover) -> None:
        self._server = server
        self._handover = handover
        self._listeners: list[socket.socket] = []
        self._acceptors: list[Acceptor] = []
        self._admitted: set[asyncio.Task[None]] = set()

    def take_over(self) -> None:
        """Accept in uvicorn's stead; again does nothing."""
        for each in self._server.servers:
            self._listeners += [socket.socket(fileno=os.dup(s.fileno())) for s in each.sockets]
            each.close()
        self._server.servers.clear()
        for listener in self._listeners:
            acceptor = Acceptor(listener, Wire.HTTP, self._handover, self.serve)
            acceptor.start()
            self._acceptors.append(acceptor)

    def serve(self, _wire: Wire, connection: socket.socket) -> None:
        """Serve a connection, whoever accepted it."""
        self._handover.opened(Wire.HTTP)
        task = asyncio.get_running_loop().create_task(self._connect(connection))
        self._admitted.add(task)
        task.add_done_callback(self._admitted.discard)

    async def close_door(self, *, last: bool) -> None:
        """Take no more connections.

        Args:
            last: whether nobody else takes them either: those that were in the kernel's queue are
                served.
        """
        for acceptor in self._acceptors:
            acceptor.stop()
        self._acceptors.clear()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            with listener:
                if last:
                    await door.shut(listener, lambda found: self.serve(Wire.HTTP, found))
        await asyncio.gather(*self._admitted, return_exceptions=True)

    async def _connect(self, connection: socket.socket) -> None:
        """As uvicorn does with what it accepts itself."""
        config = self._server.config
        made: Any = None

        def protocol() -> Any:
            nonlocal made
            kind: Any = config.http_protocol_class
            made = kind(
                config=config,
                server_state=self._server.server_state,
                app_state=self._server.lifespan.state,
            )
            made.when_closed = self._closed
            return made

        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(protocol, connection, ssl=config.ssl)
        except OSError:  # it went, or its handshake of TLS failed
            connection.close()
            if made is None or made.transport is None:
                self._closed()

    def _closed(self) -> None:
        self._handover.closed(Wire.HTTP)
