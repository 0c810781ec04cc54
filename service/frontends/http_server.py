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

from service.frontends.entrance import Entrance
from service.frontends.handover import Handover, Wire


class HttpServer:
    """Takes a running uvicorn's place at its door.

    Args:
        server: has started.
        handover: knows who has the fewest connections.
    """

    def __init__(self, server: uvicorn.Server, handover: Handover) -> None:
        self._server = server
        self._entrance = Entrance(Wire.HTTP, handover, self._connect)

    def take_over(self) -> None:
        """Accept in uvicorn's stead; again does nothing."""
        for each in self._server.servers:
            held = [socket.socket(fileno=os.dup(s.fileno())) for s in each.sockets]
            each.close()
            self._entrance.open(held)
        self._server.servers.clear()

    def serve(self, connection: socket.socket) -> None:
        """Serve a connection, whoever accepted it."""
        self._entrance.serve(connection)

    async def close_door(self, *, last: bool) -> None:
        """Take no more connections; see `Entrance.shut`."""
        await self._entrance.shut(last=last)

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
            made.when_closed = self._entrance.closed
            return made

        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(protocol, connection, ssl=config.ssl)
        except OSError:  # it went, or its handshake of TLS failed
            connection.close()
            if made is None or made.transport is None:
                self._entrance.closed()
