"""ModelStreamInfer: many requests on one stream, and their answers matched by id."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2_grpc

from benchmarks.wires import oip_grpc
from benchmarks.wires.exchange import PATIENCE, Fate, Outcome, Request
from benchmarks.wires.grpc_caller import answered, outcome_of


class GrpcStream:
    """One stream over a channel, opened at once and ended by `finish`.

    `stray` lists the answers that nobody waited for: an id that was answered twice, or never asked.
    """

    def __init__(self, through: Any) -> None:
        self._call = service_pb2_grpc.GRPCInferenceServiceStub(through).ModelStreamInfer()
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._turn = asyncio.Lock()  # grpcio takes one write at a time
        self._end: Outcome | None = None
        self._reader = asyncio.get_running_loop().create_task(self._read())
        self.asked = 0
        self.stray: list[str] = []

    @property
    def ended(self) -> bool:
        """Whether the server has ended it."""
        return self._end is not None

    async def ask(self, request: Request) -> Outcome:
        """Send one request, once, and say what became of it."""
        if self._end is not None:
            return Outcome(Fate.UNSENT, "stream ended", f"stream ended: {self._end.text}")
        self.asked += 1
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = answer
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reader tells why
            async with self._turn:
                await self._call.write(oip_grpc.encode(request, typed=False))
        try:
            async with asyncio.timeout(PATIENCE):
                return await answer
        except TimeoutError:
            self._waiting.pop(request.id, None)  # an answer after this is a stray one
            return Outcome(Fate.LOST, "hung", f"no answer on the stream within {PATIENCE:g} s")

    async def finish(self) -> None:
        """Ask no more, and wait until the server has ended the stream too."""
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async with self._turn:  # behind all that has been asked and not been written yet
                await self._call.done_writing()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._reader
        except TimeoutError:
            self._call.cancel()
            self.stray.append("the stream did not end")

    async def _read(self) -> None:
        try:
            async for message in self._call:
                self._take(message)
            self._end = Outcome(Fate.LOST, "OK", "the stream ended with OK before the answer")
        except grpc.aio.AioRpcError as error:
            self._end = outcome_of(error)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(self._end)
        self._waiting.clear()

    def _take(self, message: Any) -> None:
        identity = message.infer_response.id
        waiting = self._waiting.pop(identity, None)
        if waiting is None:
            self.stray.append(f"{identity!r} {message.error_message[:200]}".strip())
        elif message.error_message:
            text = f"on the stream: {message.error_message[:300]}"
            waiting.set_result(Outcome(Fate.FAILED, "error_message", text))
        else:
            waiting.set_result(answered(message.infer_response))
