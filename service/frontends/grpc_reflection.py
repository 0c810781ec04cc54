"""Server reflection, with a bound on how many ask at once.

Source: "GRPC Server Reflection Protocol" (grpc/doc/server-reflection.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from service.errors import ShedError
from service.frontends.grpc_call import Call
from service.frontends.seats import Seats


class Reflection(reflection.aio.ReflectionServicer):
    """The library's, on a seat.

    Args:
        services: the names of what the server offers.
        seats: counts the open streams.
    """

    def __init__(self, services: tuple[str, ...], seats: Seats) -> None:
        super().__init__((*services, reflection.SERVICE_NAME))
        self._seats = seats

    async def ServerReflectionInfo(  # noqa: N802 - the protocol's name
        self, request_iterator: Any, context: Any
    ) -> AsyncIterator[Any]:
        """Answer each question of a stream."""
        try:
            seat = self._seats.take()
        except ShedError as error:
            await Call(context).refuse(error)
        with seat:
            async for answer in super().ServerReflectionInfo(request_iterator, context):
                yield answer

    def add_to(self, server: Any) -> None:
        """Let a server offer it."""
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(self, server)
