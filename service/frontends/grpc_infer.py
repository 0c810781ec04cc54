"""Inference over gRPC: one answer to one request, or many on a stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from tritonclient.grpc import service_pb2

from service.dataplane import DataPlane
from service.errors import LupineError, ShedError
from service.frontends import grpc_access, status
from service.frontends.grpc_access import Exchange
from service.frontends.grpc_call import Call, shortened
from service.frontends.held import HeldBytes
from service.protocol.messages import InferResponse
from service.protocol.span import Span
from service.telemetry import Telemetry
from service.wires import oip_proto
from service.wires.oip_request import EMPTY_FINAL

PROTOCOL = "grpc"
FINAL = "triton_final_response"
"""Tells on a stream whether more answers to the same request follow."""


class Emit(Protocol):
    """Takes the bytes of each ModelStreamInferResponse."""

    async def __call__(self, reply: bytes, *, in_order: bool) -> None:
        """The bytes, and whether they must not overtake the answers to earlier requests."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a stream: the message, its bytes as they are held, and why it is none."""

    message: Any
    size: int
    refusal: LupineError | None = None


class Inference:
    """Decodes, asks the data plane, encodes, and tells the metrics.

    Args:
        dataplane: does what is asked.
        telemetry: hears of each request.
        held: counts the bytes of requests.
    """

    def __init__(self, dataplane: DataPlane, telemetry: Telemetry, held: HeldBytes) -> None:
        self._dataplane = dataplane
        self._telemetry = telemetry
        self._held = held

    async def once(self, call: Call, data: bytes, exchange: Exchange) -> Any:
        """The ModelInferResponse to the bytes of a ModelInferRequest.

        Raises:
            LupineError: whatever keeps it from being answered.
        """
        with self._observed(call, exchange), self._held.holding(len(data)):
            message = oip_proto.parse_infer(data)
            exchange.model = message.model_name
            request = oip_proto.decode_request(
                message, timeout=call.timeout, key=call.key, span=exchange.span
            )
            response = await self._dataplane.infer(request, call.caller)
            exchange.version = response.version
            return oip_proto.encode_response(response)

    def asked(self, data: bytes) -> Asked:
        """A request of a stream. `each` lets go of its bytes."""
        held = 0
        try:
            self._held.hold(len(data))
            held = len(data)
            return Asked(oip_proto.parse_infer(data), held)
        except LupineError as error:
            return Asked(service_pb2.ModelInferRequest(id=oip_proto.id_of(data)), held, error)

    async def each(self, call: Call, asked: Asked, emit: Emit) -> None:
        """Answer a request of a stream as often as its model does.

        Args:
            call: the stream.
            asked: the request.
            emit: takes the answers.

        Raises:
            LupineError: whatever keeps it from being answered.
        """
        message = asked.message
        wants_empty = EMPTY_FINAL in message.parameters and (
            message.parameters[EMPTY_FINAL].bool_param
        )

        async def answer(response: InferResponse, *, final: bool, in_order: bool) -> None:
            exchange.version = response.version
            if final and not response.outputs and not wants_empty:
                return
            reply = oip_proto.encode_response(response)
            reply.parameters[FINAL].bool_param = final
            stream = service_pb2.ModelStreamInferResponse(infer_response=reply)
            data = stream.SerializeToString()
            exchange.sent += len(data)
            await emit(data, in_order=in_order)

        exchange = Exchange("ModelStreamInfer", asked.size, self._span(call))
        exchange.model = message.model_name
        try:
            with self._observed(call, exchange):
                if asked.refusal is not None:
                    raise asked.refusal
                request = oip_proto.decode_request(
                    message, timeout=call.timeout, key=call.key, span=exchange.span
                )
                await self._dataplane.infer_each(request, answer, call.caller)
        finally:
            self._held.let_go(asked.size)
            grpc_access.write(self._telemetry, call, exchange)

    def _span(self, call: Call) -> Span | None:
        return grpc_access.span(call, self._telemetry)

    @contextmanager
    def _observed(self, call: Call, exchange: Exchange) -> Iterator[None]:
        try:
            yield
            exchange.code = grpc.StatusCode.OK
        except LupineError as error:
            exchange.code = status.GRPC[type(error)]
            if isinstance(error, ShedError) and error.reason == "memory":  # met on this side
                self._telemetry.shed(self._dataplane.label(exchange.model), error.reason)
            raise
        except asyncio.CancelledError:
            if call.late:
                exchange.code = grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        except BaseException:
            exchange.code = grpc.StatusCode.INTERNAL
            raise
        finally:
            self._telemetry.request(
                model=self._dataplane.label(exchange.model),
                version=exchange.version,
                protocol=PROTOCOL,
                code=exchange.code.name,
                seconds=time.perf_counter() - exchange.started,
            )


def failed(message: Any, error: LupineError) -> bytes:
    """The bytes of the ModelStreamInferResponse that tells a failure, with the request's own id."""
    reply = service_pb2.ModelInferResponse(id=message.id, model_name=message.model_name)
    return bytes(
        service_pb2.ModelStreamInferResponse(
            error_message=shortened(error.message), infer_response=reply
        ).SerializeToString()
    )
