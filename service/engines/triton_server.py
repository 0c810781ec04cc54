"""One tritonserver: the connections to it, and what is asked over them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from service.engines.shared_memory import Sharing, Slots
from service.engines.triton_http import HttpRuns
from service.errors import (
    DeadlineError,
    EngineError,
    InvalidRequestError,
    LupineError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from service.protocol.messages import ModelState, Servable, Snapshot
from service.repository import config as model_config

_OPTIONS = [
    # Bounded where bytes enter the gateway; between us and our engine nothing is too long.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A restarted server is found again within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
_ASK_SECONDS = 5.0
_CONCURRENT_QUESTIONS = 16
_REGION_SECONDS = 2.0  # registering one takes a few milliseconds

_ERRORS: dict[grpc.StatusCode, type[LupineError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedError,
}


def meaning(failure: grpc.aio.AioRpcError) -> LupineError:
    """What a call's failure means."""
    kind = _ERRORS.get(failure.code(), EngineError)
    text = (failure.details() or failure.code().name)[:2000]
    if kind is UnavailableError:
        return UnavailableError(f"Triton is not available: {text}")
    return kind(text)


@dataclass(frozen=True, slots=True)
class Address:
    """Where one Triton listens, each as HOST:PORT. Without `http`, runs go over gRPC too."""

    grpc: str
    http: str = ""


class Server:
    """The connections to one server.

    Args:
        address: where it listens.
        sharing: of memory, where it is on this host; None: there is none to be shared.
        slots: numbers that no slot of this worker has had.
    """

    def __init__(self, address: Address, sharing: Sharing | None, slots: count[int]) -> None:
        self._channel = grpc.aio.insecure_channel(address.grpc, options=_OPTIONS)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._slots = Slots(_Regions(self.stub), sharing, slots) if sharing is not None else None
        self.runs = HttpRuns(address.http, self._slots) if address.http else None

    def abandon(self) -> None:
        """It has ended."""
        if self._slots is not None:
            self._slots.abandon()

    async def close(self, grace: float | None = None) -> None:
        """Let go of everything; calls may take `grace` seconds to end."""
        if self.runs is not None:
            self.runs.close()
        if self._slots is not None:
            await self._slots.close()
        await self._channel.close(grace)

    async def live(self) -> bool:
        """Whether it says that it is."""
        try:
            answer = await self.stub.ServerLive(
                service_pb2.ServerLiveRequest(), timeout=_ASK_SECONDS
            )
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.live)

    async def index(self) -> tuple[ModelState, ...]:
        """What its repository holds. Raises AioRpcError."""
        answer = await self.stub.RepositoryIndex(
            service_pb2.RepositoryIndexRequest(), timeout=_ASK_SECONDS
        )
        return tuple(
            ModelState(name=m.name, version=m.version, state=m.state, reason=m.reason)
            for m in answer.models
        )

    async def snapshot(self) -> Snapshot:
        """The index, and the config of each READY version. Raises AioRpcError."""
        index = await self.index()
        ready = [state for state in index if state.state == "READY"]
        asking = asyncio.Semaphore(_CONCURRENT_QUESTIONS)

        async def describe(state: ModelState) -> Servable | None:
            async with asking:
                return await self._servable(state)

        found = await asyncio.gather(*(describe(state) for state in ready))
        return Snapshot(index=index, servables=group(s for s in found if s is not None))

    async def _servable(self, state: ModelState) -> Servable | None:
        try:
            answer = await self.stub.ModelConfig(
                service_pb2.ModelConfigRequest(name=state.name, version=state.version),
                timeout=_ASK_SECONDS,
            )
        except grpc.aio.AioRpcError as failure:
            if failure.code() is grpc.StatusCode.UNAVAILABLE:
                raise
            return None  # unloaded since the index was made
        return model_config.servable(model_config.to_json(answer.config), state.version)

    async def statistics(self, model: str, version: str) -> list[dict[str, Any]]:
        """As the engine's. Raises AioRpcError."""
        answer = await self.stub.ModelStatistics(
            service_pb2.ModelStatisticsRequest(name=model, version=version), timeout=_ASK_SECONDS
        )
        return [model_config.to_json(entry) for entry in answer.model_stats]


class _Regions:
    """What one server knows of shared memory."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    async def register(self, name: str, size: int) -> None:
        await self._call(
            self._stub.SystemSharedMemoryRegister,
            service_pb2.SystemSharedMemoryRegisterRequest(
                name=name, key=f"/{name}", byte_size=size
            ),
        )

    async def unregister(self, name: str) -> None:
        await self._call(
            self._stub.SystemSharedMemoryUnregister,
            service_pb2.SystemSharedMemoryUnregisterRequest(name=name),
        )

    async def _call(self, method: Any, message: Any) -> None:
        try:
            await method(message, timeout=_REGION_SECONDS)
        except grpc.aio.AioRpcError as failure:
            raise meaning(failure) from None


def group(servables: Iterable[Servable]) -> dict[str, dict[str, Servable]]:
    """Servables by name and version, as a snapshot holds them."""
    found: dict[str, dict[str, Servable]] = {}
    for servable in servables:
        found.setdefault(servable.name, {})[servable.version] = servable
    return found
