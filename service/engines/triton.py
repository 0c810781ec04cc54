"""Tritonserver over gRPC: the managed one, or one or several that run elsewhere."""

from __future__ import annotations

import asyncio
import functools
import math
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from service.engines.shared_memory import Sharing
from service.engines.triton_server import Address, Server, meaning
from service.errors import (
    ConfigurationError,
    DeadlineError,
    EngineError,
    InvalidRequestError,
    LupineError,
    NotFoundError,
    UnavailableError,
)
from service.protocol.concat import concat
from service.protocol.messages import ModelState, Parameter, Servable, Snapshot, Tensor
from service.protocol.ports import EachOutputs
from service.protocol.span import Span
from service.repository.ledger import Ledger
from service.wires import oip_proto, oip_request

_CONTROL_SECONDS = 120.0  # a load starts a process and optimises a graph


@functools.cache
def elsewhere(grpc_urls: str, http_urls: str) -> Sequence[Address]:
    """The addresses in settings: HOST:PORT[,...]; `http_urls` may be empty."""
    found = [part.strip() for part in grpc_urls.split(",")]
    https = [part.strip() for part in http_urls.split(",")] if http_urls else [""] * len(found)
    return tuple(map(Address, found, https))


class TritonEngine:
    """Speaks to every Triton that `endpoints` names, in turn.

    Args:
        endpoints: each server's address, asked again whenever one is needed: a restarted server
            may have moved. Empty while there is none.
        ledger: where orders are written down, for the workers and for a Triton that restarts.
        sharing: of memory, with a Triton on this host; None: there is none to be shared.
    """

    name = "triton"

    def __init__(
        self,
        endpoints: Callable[[], Sequence[Address]],
        ledger: Ledger,
        sharing: Sharing | None = None,
    ) -> None:
        self._sharing = sharing
        self._slots = count()  # that this worker has made
        self._endpoints = endpoints
        self._ledger = ledger
        self._servers: dict[Address, Server] = {}
        self._turn = 0

    async def start(self) -> None:
        """Make sure that a Triton answers."""
        for _ in range(50):
            if await self.healthy():
                return
            await asyncio.sleep(0.1)
        addresses = ", ".join(address.grpc for address in self._endpoints())
        raise ConfigurationError(f"no Triton answers at {addresses or 'all'}")

    async def stop(self) -> None:
        """Close the connections; Triton itself is the guardian's."""
        servers, self._servers = self._servers, {}
        for server in servers.values():
            await server.close()

    async def healthy(self) -> bool:
        """Whether at least one Triton says that it is live."""
        try:
            for server in self._all():
                if await server.live():
                    return True
        except UnavailableError:
            return False
        return False

    async def snapshot(self) -> Snapshot:
        """The index of the first Triton that answers, and the config of each READY version."""
        snapshot: Snapshot = await self._first(Server.snapshot)
        return snapshot

    async def infer(
        self,
        servable: Servable,
        inputs: Sequence[Mapping[str, Tensor]],
        outputs: Sequence[str],
        *,
        parameters: Mapping[str, Parameter],
        deadline: float,
        span: Span | None = None,
    ) -> Mapping[str, Tensor]:
        """Run one batch on the exact version; the span's trace goes with it."""
        server = self._server_for(parameters)
        if server.runs is not None:
            return await server.runs.infer(servable, inputs, outputs, parameters, span)
        message = oip_proto.encode_request(servable, concat(inputs), outputs, parameters)
        try:
            answer = await server.stub.ModelInfer(
                message,
                timeout=_left(deadline),
                metadata=span.context() if span is not None else None,
            )
        except grpc.aio.AioRpcError as failure:
            raise meaning(failure) from None
        return oip_proto.decode_outputs(answer)

    async def infer_each(
        self,
        servable: Servable,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],
        *,
        parameters: Mapping[str, Parameter],
        deadline: float,
        each: EachOutputs,
        span: Span | None = None,
    ) -> None:
        """Run a decoupled model, on a stream of its own."""
        message = oip_proto.encode_request(
            servable, inputs, outputs, {**parameters, oip_request.EMPTY_FINAL: True}
        )
        call = self._server_for(parameters).stub.ModelStreamInfer(
            timeout=_left(deadline), metadata=span.context() if span is not None else None
        )
        failed = ""
        try:
            await call.write(message)
            await call.done_writing()
            # To the stream's own end, whatever comes: a Triton whose stream is cancelled while it
            # has still something to write may die of it (24.10, a segmentation fault).
            async for answer in call:
                if failed:
                    continue
                if answer.error_message:
                    failed = answer.error_message[:2000]
                    continue
                found = answer.infer_response
                final = found.parameters["triton_final_response"].bool_param
                await each(oip_proto.decode_outputs(found), final=final)
        except grpc.aio.AioRpcError as failure:
            raise meaning(failure) from None
        finally:
            call.cancel()  # a deadline, or a client that has gone, ends the run
        if failed:
            raise EngineError(failed)

    def _server_for(self, parameters: Mapping[str, Parameter]) -> Server:
        """The next in turn; for a sequence, whose state one server keeps, always the same."""
        servers = self._all()
        sequence = parameters.get("sequence_id")
        if sequence:
            return servers[zlib.crc32(str(sequence).encode()) % len(servers)]
        self._turn += 1
        return servers[self._turn % len(servers)]

    async def load(self, model: str) -> None:
        """Load the model on every Triton."""
        await self._check_known(model)
        await self._control(
            lambda s: s.stub.RepositoryModelLoad(
                service_pb2.RepositoryModelLoadRequest(model_name=model), timeout=_CONTROL_SECONDS
            )
        )
        self._ledger.record(model, loaded=True)

    async def unload(self, model: str) -> None:
        """Unload the model from every Triton."""
        await self._check_known(model)
        await self._control(
            lambda s: s.stub.RepositoryModelUnload(
                service_pb2.RepositoryModelUnloadRequest(model_name=model),
                timeout=_CONTROL_SECONDS,
            )
        )
        self._ledger.record(model, loaded=False)

    async def _check_known(self, model: str) -> None:
        """Triton says yes to unloading anything, and takes an unknown name for a broken model."""
        index: Sequence[ModelState] = await self._first(Server.index)
        if model not in {state.name for state in index}:
            raise NotFoundError(f"the repository has no model {model!r:.200}")

    async def statistics(self, model: str, version: str) -> Sequence[Mapping[str, Any]]:
        """Triton's own statistics, of the first server that answers."""
        found: Sequence[Mapping[str, Any]] = await self._first(
            lambda server: server.statistics(model, version)
        )
        return found

    def _all(self) -> list[Server]:
        """The servers that there are now; connections to those that went away are closed."""
        addresses = self._endpoints()
        if not addresses:
            raise UnavailableError("Triton is not running: it is being restarted")
        if self._servers.keys() != set(addresses):
            for gone in self._servers.keys() - set(addresses):
                server = self._servers.pop(gone)
                server.abandon()
                task = asyncio.get_running_loop().create_task(server.close(grace=1.0))
                task.add_done_callback(lambda _: None)
            for address in addresses:
                if address not in self._servers:
                    self._servers[address] = Server(address, self._sharing, self._slots)
        return [self._servers[address] for address in addresses]

    async def _first(self, ask: Callable[[Server], Awaitable[Any]]) -> Any:
        unavailable: LupineError | None = None
        for server in self._all():
            try:
                return await ask(server)
            except grpc.aio.AioRpcError as failure:
                found = meaning(failure)
                if not isinstance(found, UnavailableError | DeadlineError):
                    raise found from None
                unavailable = found
        raise UnavailableError(unavailable.message if unavailable else "there is no Triton")

    async def _control(self, order: Callable[[Server], Awaitable[Any]]) -> None:
        for server in self._all():
            try:
                await order(server)
            except grpc.aio.AioRpcError as failure:
                found = meaning(failure)
                # Triton reports a model that it cannot load as its own failure.
                if isinstance(found, EngineError):
                    raise InvalidRequestError(found.message) from None
                raise found from None


def _left(deadline: float) -> float | None:
    """Seconds that a call may take; None: as many as it needs."""
    return None if math.isinf(deadline) else max(deadline - time.monotonic(), 0.001)
