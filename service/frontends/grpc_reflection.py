"""Server reflection, with a bound on how many ask at once.

Source: "GRPC Server Reflection Protocol" (grpc/doc/server-reflection.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.frontends.grpc_call import Call
from service.frontends.grpc_method import Method, Streaming
from service.frontends.seats import Seats
from service.wires import oip_proto


class Reflection:
    """The library's answers, each stream on a seat.

    Args:
        services: the names of what the server offers.
        seats: counts the open streams.
    """

    def __init__(self, services: tuple[str, ...], seats: Seats) -> None:
        names = (*services, reflection.SERVICE_NAME)
        self._answers: Any = reflection.aio.ReflectionServicer(names)
        self._seats = seats

    def methods(self) -> Mapping[str, Method]:
        """What a server is given, by path."""
        path = f"/{reflection.SERVICE_NAME}/ServerReflectionInfo"
        return {path: Streaming(self._serve, owed=False)}

    async def _serve(self, call: Call) -> None:
        """Answer each question of a stream."""
        with self._seats.take():
            async for answer in self._answers.ServerReflectionInfo(_questions(call), None):
                await call.write(bytes(answer.SerializeToString()))


async def _questions(call: Call) -> AsyncIterator[Any]:
    while (data := await call.read()) is not None:
        yield oip_proto.parse(reflection_pb2.ServerReflectionRequest, data)
