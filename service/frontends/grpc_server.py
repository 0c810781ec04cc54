"""The gRPC server of one worker: where it listens, its limits, health, reflection and end.

All workers of a gateway listen on the same port (SO_REUSEPORT), and the kernel spreads
connections over them.
"""

from __future__ import annotations

import asyncio
import math
import socket

from service.dataplane import DataPlane
from service.errors import ConfigurationError
from service.frontends import grpc_health
from service.frontends.entrance import Entrance
from service.frontends.grpc import INFER, SERVICE, GrpcFrontend
from service.frontends.grpc_call import Bounds
from service.frontends.grpc_calls import Calls
from service.frontends.grpc_direct import DirectFrontend
from service.frontends.grpc_health import Health
from service.frontends.grpc_reflection import Reflection
from service.frontends.handover import Handover, Wire
from service.frontends.held import HeldBytes
from service.frontends.http2 import endpoint
from service.frontends.http2.endpoint import Endpoint
from service.frontends.seats import Seats
from service.settings import Server
from service.telemetry import Telemetry

_BACKLOG = 1024
_POLL_SECONDS = 0.01
_CUT_SECONDS = 1.0  # in which connections that are cut have ended
_LAST_WORD_SECONDS = 2.0  # for clients to hear that they shall go, and to take their last answers


class GrpcServer:
    """Listens from `start` to `stop`.

    Args:
        frontend: answers the Open Inference Protocol.
        dataplane: answers plain inferences, and knows whether one has a chance.
        telemetry: hears of each inference.
        settings: address and limits.
        held: counts the bytes of requests.
        seats: counts the open streams.
        max_rpcs: RPCs of all connections at once.
        handover: knows who has the fewest connections.
    """

    def __init__(
        self,
        frontend: GrpcFrontend,
        dataplane: DataPlane,
        telemetry: Telemetry,
        settings: Server,
        *,
        held: HeldBytes,
        seats: Seats,
        max_rpcs: int,
        handover: Handover,
    ) -> None:
        self._frontend = frontend
        self._settings = settings
        self._health = Health(dataplane, [SERVICE], seats)
        reflection = Reflection((SERVICE, grpc_health.SERVICE), seats)
        compression = settings.grpc_compression
        self._calls = Calls(
            {**frontend.methods(), **self._health.methods(), **reflection.methods()},
            (INFER, DirectFrontend(dataplane, telemetry, held, max_bytes=settings.max_body_bytes)),
            Bounds(
                held=held,
                max_bytes=int(settings.max_body_bytes),
                compression="" if compression == "none" else compression,
            ),
            max_calls=max_rpcs,
            max_header_bytes=int(settings.max_header_bytes),
        )
        self._bounds = endpoint.Bounds(
            max_header_bytes=int(settings.max_header_bytes),
            handshake_seconds=settings.header_seconds,
            idle_seconds=settings.keep_alive_seconds,
            stall_seconds=settings.body_idle_seconds,
        )
        self._connections: set[Endpoint] = set()
        self._entrance = Entrance(Wire.GRPC, handover, self._connect)
        self._draining = False
        self._stopping: asyncio.Future[int] | None = None
        self._end = math.inf  # on the loop's clock

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: the port cannot be had.
        """
        host, port = self._settings.host, self._settings.grpc_port
        try:
            listeners = [_listening(*found) for found in await _addresses(host, port)]
        except OSError as error:
            raise ConfigurationError(f"cannot listen for gRPC on {host}:{port}: {error}") from None
        self._entrance.open(listeners)

    def serve(self, connection: socket.socket) -> None:
        """Serve a connection, whoever accepted it."""
        self._entrance.serve(connection)

    async def close_door(self) -> None:
        """Take no more connections; those that were in the kernel's queue are served."""
        await self._entrance.shut(last=True)

    async def stop(self, grace: float) -> int:
        """Take no more RPCs, let those in flight finish, and end.

        Clients are told at once to go elsewhere (GOAWAY). Idle streams end. A second call may
        shorten the grace of the first.

        Args:
            grace: seconds that RPCs in flight have.

        Returns:
            how many were cut.
        """
        self._end = min(self._end, asyncio.get_running_loop().time() + grace)
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop(politely=grace > 0))
        return await asyncio.shield(self._stopping)

    async def _stop(self, *, politely: bool) -> int:
        self._draining = True
        self._health.close()
        if politely:
            for connection in list(self._connections):
                connection.drain()
        await self._entrance.shut(last=politely)
        self._frontend.close()
        quiet = self._clock()
        while self._left() > 0 and (self._calls.owed or self._connections):
            if self._calls.owed:
                quiet = self._clock()
            elif self._clock() - quiet > _LAST_WORD_SECONDS:
                break
            await asyncio.sleep(_POLL_SECONDS)
        cut = max(0, self._calls.owed + self._frontend.unanswered)
        for connection in list(self._connections):
            connection.abort()
        end = self._clock() + _CUT_SECONDS
        while self._connections and self._clock() < end:  # noqa: ASYNC110 - the last ones
            await asyncio.sleep(_POLL_SECONDS)
        return cut

    def _left(self) -> float:
        return self._end - self._clock()

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()

    async def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(self._endpoint, connection)

    def _endpoint(self) -> Endpoint:
        made = Endpoint(self._calls.of, self._bounds, self._gone, draining=self._draining)
        self._connections.add(made)
        return made

    def _gone(self, connection: Endpoint) -> None:
        self._connections.discard(connection)
        self._entrance.closed()


async def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Where a host means: several addresses for a name such as `localhost`."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list(dict.fromkeys((family, address[:2]) for family, *_, address in found))  # type: ignore[misc]


def _listening(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    """A socket that shares its port with the other workers; `::` takes IPv4 as well."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the socket's own signature
    except OSError:
        listener.close()
        raise
    return listener
