"""`grpc.health.v1`: what `ServerReady` says, for whoever asks by the standard.

Source: "GRPC Health Checking Protocol" (grpc/doc/health-checking.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from grpc_health.v1 import health_pb2

from service.dataplane import DataPlane
from service.errors import InvalidRequestError, NotFoundError
from service.frontends.grpc_call import Call
from service.frontends.grpc_method import Method, Streaming, Unary
from service.frontends.seats import Seats
from service.wires import oip_proto

SERVICE: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_LOOK_AGAIN_SECONDS = 0.5


class Health:
    """Answers probes.

    Args:
        dataplane: knows whether an inference has a chance.
        services: the names that may be asked about; they, and the server ("") share one health.
        seats: counts the open streams.
    """

    def __init__(self, dataplane: DataPlane, services: Sequence[str], seats: Seats) -> None:
        self._dataplane = dataplane
        self._services = ("", *services)
        self._seats = seats
        self._closed = False
        self._watchers = 0
        self._poller: asyncio.Task[None] | None = None
        self._seen: Any = None  # by the poller, which looks for all watchers
        self._changed = asyncio.Event()  # a new one after each change

    def methods(self) -> Mapping[str, Method]:
        """What a server is given, by path."""
        return {
            f"/{SERVICE}/Check": Unary(self._check),
            f"/{SERVICE}/Watch": Streaming(self._watch, owed=False),
        }

    def close(self) -> None:
        """End every watch, once it has told what there was to tell."""
        self._closed = True
        self._wake()

    async def _check(self, data: bytes, _call: Call) -> bytes:
        """Whether the service has a chance to answer now."""
        service = _asked(data)
        if service not in self._services:
            raise NotFoundError(
                f"no service {service!r:.200} is known here: "
                f"{', '.join(map(repr, self._services))} are"
            )
        return _told(await self._status())

    async def _watch(self, call: Call) -> None:
        """The same, now and whenever it changes."""
        data = await call.read()
        if data is None:
            raise InvalidRequestError("the call ends without a message")
        known = _asked(data) in self._services
        with self._seats.take(), self._watching():
            if not known:
                await call.write(_told(health_pb2.HealthCheckResponse.SERVICE_UNKNOWN))
            before = None
            while not self._closed:
                changed = self._changed
                if known and self._seen != before:
                    before = self._seen
                    await call.write(_told(before))
                else:
                    await changed.wait()

    @contextmanager
    def _watching(self) -> Iterator[None]:
        self._watchers += 1
        if self._poller is None:
            self._seen = None
            self._poller = asyncio.get_running_loop().create_task(self._poll())
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._poller.cancel()
                self._poller = None

    async def _poll(self) -> None:
        """Look for all watchers: the engine may be another server."""
        while True:
            now = await self._status()
            if now != self._seen:
                self._seen = now
                self._wake()
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _status(self) -> Any:
        if await self._dataplane.ready():
            return health_pb2.HealthCheckResponse.SERVING
        return health_pb2.HealthCheckResponse.NOT_SERVING


def _asked(data: bytes) -> str:
    service: str = oip_proto.parse(health_pb2.HealthCheckRequest, data).service
    return service


def _told(status: Any) -> bytes:
    return bytes(health_pb2.HealthCheckResponse(status=status).SerializeToString())
