"""The gRPC server of one worker: where it listens, its limits, health, reflection and end.

All workers of a gateway listen on the same port (SO_REUSEPORT), and the kernel spreads
connections over them.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import Any

import grpc

from service.dataplane import DataPlane
from service.errors import ConfigurationError
from service.frontends import goaway, grpc_health, grpc_log, own_sockets
from service.frontends.grpc import SERVICE, GrpcFrontend
from service.frontends.grpc_health import Health
from service.frontends.grpc_reflection import Reflection
from service.frontends.seats import Seats
from service.settings import Server

_CONNECTION_STREAMS = 1024
_PENDING = 100_000
_LAST_WORD_SECONDS = 0.5  # for answers that have been made and not been sent
_QUIET_SECONDS = 0.15  # longer than a client is away from hearing that it should go
_GONE_SECONDS = 2.0  # there may be clients that do not listen
_POLL_SECONDS = 0.01
_LOOK_AGAIN_SECONDS = 0.1
_FOR_EVER = 86_400.0  # stop() ends it: gRPC lets a later call shorten an earlier one
_COMPRESSION = {
    "none": grpc.Compression.NoCompression,
    "deflate": grpc.Compression.Deflate,
    "gzip": grpc.Compression.Gzip,
}


class GrpcServer:
    """Listens from `start` to `stop`.

    Args:
        frontend: answers the Open Inference Protocol.
        dataplane: knows whether an inference has a chance.
        settings: address and limits.
        seats: counts the open streams.
        max_rpcs: RPCs of all connections at once.
    """

    def __init__(
        self,
        frontend: GrpcFrontend,
        dataplane: DataPlane,
        settings: Server,
        seats: Seats,
        *,
        max_rpcs: int,
    ) -> None:
        self._frontend = frontend
        self._dataplane = dataplane
        self._settings = settings
        self._max_rpcs = max_rpcs
        self._health = Health(dataplane, [SERVICE], seats)
        self._reflection = Reflection((SERVICE, grpc_health.SERVICE), seats)
        self._server: Any = None
        self._stopping: asyncio.Future[int] | None = None
        self._end = math.inf  # on the loop's clock

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: the port cannot be had.
        """
        grpc_log.install()
        server = grpc.aio.server(
            options=_options(self._settings),
            maximum_concurrent_rpcs=self._max_rpcs,
            compression=_COMPRESSION[self._settings.grpc_compression],
        )
        server.add_generic_rpc_handlers((self._frontend.handlers(), self._health.handlers()))
        self._reflection.add_to(server)
        host, port = self._settings.host, self._settings.grpc_port
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigurationError(f"cannot listen for gRPC on {address}: {error}") from None
        await server.start()
        self._server = server

    async def stop(self, grace: float) -> int:
        """Take no more RPCs, let those in flight finish, and end.

        Clients are told at once to go elsewhere (GOAWAY). Idle streams end. A second call may
        shorten the grace of the first.

        Args:
            grace: seconds that RPCs in flight have.

        Returns:
            how many were cut.
        """
        if self._server is None:
            return 0
        self._end = min(self._end, asyncio.get_running_loop().time() + grace)
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop(politely=grace > 0))
        return await asyncio.shield(self._stopping)

    async def _stop(self, *, politely: bool) -> int:
        self._health.close()
        if politely:
            await self._send_away()
        self._frontend.close()
        stopping = asyncio.ensure_future(self._server.stop(_FOR_EVER))
        while self._frontend.active and self._left() > 0:
            with suppress(TimeoutError):  # the end may come nearer meanwhile
                async with asyncio.timeout(min(self._left(), _LOOK_AGAIN_SECONDS)):
                    await self._frontend.idle()
        cut = self._frontend.unanswered
        await self._server.stop(0 if self._frontend.active or not politely else _LAST_WORD_SECONDS)
        await stopping
        return cut

    def _left(self) -> float:
        return self._end - asyncio.get_running_loop().time()

    async def _send_away(self) -> None:
        """Tell clients to go, and answer until they have gone."""
        with own_sockets.connections(self._settings.grpc_port) as connections:
            if not connections:
                return
            with self._frontend.silence():
                await goaway.send(connections)
        clock = asyncio.get_running_loop().time
        end = min(clock() + _GONE_SECONDS, self._end)
        begun, since = self._frontend.begun, clock()
        while clock() < end and clock() - since < _QUIET_SECONDS:
            await asyncio.sleep(_POLL_SECONDS)
            if self._frontend.begun != begun:
                begun, since = self._frontend.begun, clock()


def _options(settings: Server) -> list[tuple[str, int]]:
    """Source: "Keepalive User Guide for gRPC Core" and grpc/impl/channel_arg_names.h."""
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", int(settings.max_body_bytes)),
        ("grpc.max_send_message_length", -1),  # an answer is as large as its model makes it
        ("grpc.max_metadata_size", int(settings.max_header_bytes)),
        ("grpc.absolute_max_metadata_size", int(settings.max_header_bytes)),
        ("grpc.max_concurrent_streams", _CONNECTION_STREAMS),
        # Above the lower of these core cancels calls at random that Python has not taken up yet.
        ("grpc.server.max_pending_requests", _PENDING),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _PENDING),
        ("grpc.server_handshake_timeout_ms", int(settings.header_seconds * 1000)),
        # Who has gone without a word is found out, and what they asked for is not computed.
        ("grpc.keepalive_time_ms", int(settings.keep_alive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", int(settings.header_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        # Clients may ping too, but not faster; who does gets GOAWAY "too_many_pings".
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
    ]
