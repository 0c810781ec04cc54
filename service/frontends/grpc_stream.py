"""ModelStreamInfer: many requests and answers on one RPC.

Requests of a stream are under way together, as if each had come alone. Answers come in the order of
the requests, but those of decoupled models as they are made. A request that fails is answered
with its reason, and the stream goes on; a client that asks for it by the metadata
`triton_grpc_error: true` gets the failure as the status that ends the stream.

Source: Triton, "Decoupled Models" and "GRPC Error Handling" (user_guide/decoupled_models.md,
customization_guide/inference_protocols.md).
"""

from __future__ import annotations

import asyncio

from service.errors import LupineError
from service.frontends.grpc_call import Call
from service.frontends.grpc_infer import Asked, Inference, failed

UNDER_WAY = 256
"""Requests of one stream that are answered at once. A client that sends more has to wait."""

_UNSENT = 16  # answers that wait for a client that reads slowly, before those to come wait too
_STRICT = "triton_grpc_error"
_SEQUENCE = "sequence_id"


class InferStream:
    """One stream.

    Args:
        call: the RPC.
        inference: answers its requests.
    """

    def __init__(self, call: Call, inference: Inference) -> None:
        self._call = call
        self._inference = inference
        self._strict = call.metadata.get(_STRICT, "").lower() == "true"
        self._permits = asyncio.Semaphore(UNDER_WAY)
        self._unsent: asyncio.Queue[bytes | None] = asyncio.Queue(_UNSENT)
        self._reader: asyncio.Task[None] | None = None
        self._closed = False
        self.under_way = 0  # requests that have not been answered yet

    @property
    def closed(self) -> bool:
        """Whether the gateway ended it, and not the client."""
        return self._closed

    def close(self) -> None:
        """Read no further: the stream ends after the answers to what was read."""
        self._closed = True
        if self._reader is not None:
            self._reader.cancel()

    async def serve(self) -> None:
        """Read and answer until the client ends its half, or `close`.

        Raises:
            LupineError: what ends the stream of a client that asked for it.
        """
        if self._closed:
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._write())
                async with asyncio.TaskGroup() as group:
                    self._reader = group.create_task(self._read(group))
                await self._unsent.put(None)
        except BaseExceptionGroup as failures:
            raise _first(failures) from None

    async def _read(self, group: asyncio.TaskGroup) -> None:
        before: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        before.set_result(None)
        while (data := await self._call.read()) is not None:
            await self._permits.acquire()
            after: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            asked = self._inference.asked(data)
            self.under_way += 1
            task = group.create_task(self._answer(asked, before, after))
            if _SEQUENCE in asked.message.parameters:
                await asyncio.wait([task])  # the model keeps a state: one step after another
            before = after

    async def _answer(
        self, asked: Asked, before: asyncio.Future[None], after: asyncio.Future[None]
    ) -> None:
        async def emit(reply: bytes, *, in_order: bool) -> None:
            if in_order:
                await asyncio.shield(before)  # it is another request that ends it
            await self._unsent.put(reply)

        try:
            await self._inference.each(self._call, asked, emit)
        except LupineError as error:
            if self._strict:
                raise
            await emit(failed(asked.message, error), in_order=True)
        finally:
            self.under_way -= 1
            after.set_result(None)
            self._permits.release()

    async def _write(self) -> None:
        """Send what there is to send, one after another."""
        while (reply := await self._unsent.get()) is not None:
            await self._call.write(reply)


def _first(failures: BaseExceptionGroup) -> BaseException:
    """The failure that ended a group, and the groups around it."""
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
