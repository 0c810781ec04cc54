"""The Open Inference Protocol v2 over gRPC: `inference.GRPCInferenceService`.

Methods take and give bytes, so that a message that cannot be parsed is answered with its reason.

Source: grpc_service.proto (KServe, Triton), as `tritonclient` ships it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2

from service.dataplane import DataPlane
from service.errors import (
    LupineError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from service.frontends import admin, grpc_access, status
from service.frontends.admin import AdminGate
from service.frontends.grpc_access import Exchange
from service.frontends.grpc_call import Call
from service.frontends.grpc_infer import Inference
from service.frontends.grpc_method import Method, Streaming, Unary
from service.frontends.grpc_stream import InferStream
from service.frontends.held import HeldBytes
from service.frontends.seats import Seats
from service.protocol.messages import TensorSpec
from service.repository import config as model_config
from service.telemetry import Telemetry
from service.wires import oip_proto

SERVICE: str = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
INFER = f"/{SERVICE}/ModelInfer"
_NOT_OFFERED = {
    "SystemSharedMemoryStatus": "shared memory between client and gateway",
    "SystemSharedMemoryRegister": "shared memory between client and gateway",
    "SystemSharedMemoryUnregister": "shared memory between client and gateway",
    "CudaSharedMemoryStatus": "shared memory between client and gateway",
    "CudaSharedMemoryRegister": "shared memory between client and gateway",
    "CudaSharedMemoryUnregister": "shared memory between client and gateway",
    "TraceSetting": "Triton's trace extension",
    "LogSettings": "Triton's logging extension",
}

_SHUTTING_DOWN = "this gateway is shutting down: open the stream to another"
_MAX_QUESTION = 1 << 20  # bytes of any request but an inference

Verb = Callable[[Call, bytes, Exchange], Awaitable[Any]]


class GrpcFrontend:
    """Answers every RPC of the service.

    Args:
        dataplane: does what is asked.
        telemetry: hears of each inference.
        gate: knows who may administer.
        held: counts the bytes of requests.
        seats: counts the open streams.
    """

    def __init__(
        self,
        dataplane: DataPlane,
        telemetry: Telemetry,
        gate: AdminGate,
        held: HeldBytes,
        seats: Seats,
    ) -> None:
        self._dataplane = dataplane
        self._telemetry = telemetry
        self._gate = gate
        self._seats = seats
        self._inference = Inference(dataplane, telemetry, held)
        self._streams: set[InferStream] = set()
        self._closed = False

    def methods(self) -> Mapping[str, Method]:
        """What a server is given, by path."""
        verbs: Mapping[str, tuple[Any, Callable[[Call, Any], Awaitable[Any]]]] = {
            "ServerLive": (service_pb2.ServerLiveRequest, self._server_live),
            "ServerReady": (service_pb2.ServerReadyRequest, self._server_ready),
            "ServerMetadata": (service_pb2.ServerMetadataRequest, self._server_metadata),
            "ModelReady": (service_pb2.ModelReadyRequest, self._model_ready),
            "ModelMetadata": (service_pb2.ModelMetadataRequest, self._model_metadata),
            "ModelConfig": (service_pb2.ModelConfigRequest, self._model_config),
            "ModelStatistics": (service_pb2.ModelStatisticsRequest, self._model_statistics),
            "RepositoryIndex": (service_pb2.RepositoryIndexRequest, self._index),
            "RepositoryModelLoad": (service_pb2.RepositoryModelLoadRequest, self._load),
            "RepositoryModelUnload": (service_pb2.RepositoryModelUnloadRequest, self._unload),
        }
        found: dict[str, Method] = {
            name: self._answered(name, _parsing(kind, verb)) for name, (kind, verb) in verbs.items()
        }
        for name, what in _NOT_OFFERED.items():
            found[name] = self._answered(name, _refusing(what))
        found["ModelInfer"] = self._answered("ModelInfer", self._inference.once)
        found["ModelStreamInfer"] = Streaming(self._stream)
        return {f"/{SERVICE}/{name}": method for name, method in found.items()}

    # ------------------------------------------------------------------ in flight, and the end

    @property
    def unanswered(self) -> int:
        """Requests on streams that have not been answered, beside the streams themselves."""
        return sum(stream.under_way for stream in self._streams) - len(self._streams)

    def close(self) -> None:
        """End each open stream after the answers to what it has asked so far."""
        self._closed = True
        for stream in self._streams:
            stream.close()

    # ------------------------------------------------------------------ every RPC

    def _answered(self, name: str, verb: Verb) -> Unary:
        async def answer(data: bytes, call: Call) -> bytes:
            exchange = Exchange(name, len(data), grpc_access.span(call, self._telemetry))
            try:
                reply = (await verb(call, data, exchange)).SerializeToString()
                exchange.code, exchange.sent = grpc.StatusCode.OK, len(reply)
                return bytes(reply)
            except LupineError as error:
                exchange.code = status.GRPC[type(error)]
                raise
            except Exception:
                exchange.code = grpc.StatusCode.INTERNAL
                raise
            finally:
                grpc_access.write(self._telemetry, call, exchange)

        return Unary(answer)

    async def _stream(self, call: Call) -> None:
        stream = InferStream(call, self._inference)
        with self._seats.take():
            self._streams.add(stream)
            if self._closed:
                stream.close()
            try:
                await stream.serve()
            finally:
                self._streams.discard(stream)
            if stream.closed:
                raise UnavailableError(_SHUTTING_DOWN)

    # ------------------------------------------------------------------ the server and its models

    async def _server_live(self, _call: Call, _message: Any) -> Any:
        return service_pb2.ServerLiveResponse(live=self._dataplane.live())

    async def _server_ready(self, _call: Call, _message: Any) -> Any:
        return service_pb2.ServerReadyResponse(ready=await self._dataplane.ready())

    async def _server_metadata(self, _call: Call, _message: Any) -> Any:
        return service_pb2.ServerMetadataResponse(**self._dataplane.about())

    async def _model_ready(self, _call: Call, message: Any) -> Any:
        try:
            ready = await self._dataplane.model_ready(message.name, message.version)
        except NotFoundError:
            ready = False  # as Triton has it
        return service_pb2.ModelReadyResponse(ready=ready)

    async def _model_metadata(self, _call: Call, message: Any) -> Any:
        found, versions = await self._dataplane.servable(message.name, message.version)
        return service_pb2.ModelMetadataResponse(
            name=message.name,
            versions=versions,
            platform=found.platform,
            inputs=[_tensor(spec) for spec in found.inputs.values()],
            outputs=[_tensor(spec) for spec in found.outputs.values()],
        )

    async def _model_config(self, _call: Call, message: Any) -> Any:
        found, _ = await self._dataplane.servable(message.name, message.version)
        return service_pb2.ModelConfigResponse(
            config=model_config.fill(model_config_pb2.ModelConfig(), found.config)
        )

    async def _model_statistics(self, _call: Call, message: Any) -> Any:
        found = await self._dataplane.statistics(message.name, message.version)
        reply = service_pb2.ModelStatisticsResponse()
        for entry in found:
            model_config.fill(reply.model_stats.add(), entry)
        return reply

    # ------------------------------------------------------------------ the repository

    async def _index(self, _call: Call, message: Any) -> Any:
        _check_repository(message)
        reply = service_pb2.RepositoryIndexResponse()
        for state in await self._dataplane.index(ready=message.ready):
            reply.models.add(
                name=state.name, version=state.version, state=state.state, reason=state.reason
            )
        return reply

    async def _load(self, call: Call, message: Any) -> Any:
        self._gate.check(call.peer, call.metadata)
        _check_repository(message)
        admin.check_names(message.parameters)
        admin.check_dependents(oip_proto.parameters_of(message.parameters, "the load"))
        await self._dataplane.load(message.model_name)
        return service_pb2.RepositoryModelLoadResponse()

    async def _unload(self, call: Call, message: Any) -> Any:
        self._gate.check(call.peer, call.metadata)
        _check_repository(message)
        admin.check_names(message.parameters)
        admin.check_dependents(oip_proto.parameters_of(message.parameters, "the unload"))
        await self._dataplane.unload(message.model_name)
        return service_pb2.RepositoryModelUnloadResponse()


def _parsing(kind: Any, verb: Callable[[Call, Any], Awaitable[Any]]) -> Verb:
    async def parsed(call: Call, data: bytes, exchange: Exchange) -> Any:
        if len(data) > _MAX_QUESTION:
            raise TooLargeError(
                f"the message has {len(data)} bytes, at most {_MAX_QUESTION} are taken here"
            )
        message = oip_proto.parse(kind, data)
        exchange.model = getattr(message, "model_name", "") or getattr(message, "name", "")
        return await verb(call, message)

    return parsed


def _refusing(what: str) -> Verb:
    async def refuse(_call: Call, _data: bytes, _exchange: Exchange) -> NoReturn:
        raise UnsupportedError(f"{what} is not offered here")

    return refuse


def _check_repository(message: Any) -> None:
    if message.repository_name:
        raise UnsupportedError(
            f"repository_name is {message.repository_name!r:.200}: there is one repository, "
            "without a name"
        )


def _tensor(spec: TensorSpec) -> Any:
    return service_pb2.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype.name, shape=spec.shape
    )
