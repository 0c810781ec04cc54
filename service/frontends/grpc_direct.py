"""Inference over gRPC without a task: from the stream to the data plane and back.

What is plain takes this way: ModelInfer of which nobody keeps a record, answered uncompressed. A
task, a future and the messages between them cost more than all the rest (`docs/adr/0015`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

import grpc

from service.dataplane import DataPlane
from service.errors import DeadlineError, InvalidRequestError, LupineError, ShedError
from service.frontends import grpc_framing, grpc_head, identity, status
from service.frontends.grpc_call import shortened
from service.frontends.grpc_framing import PREFIX, PREFIX_BYTES, Messages
from service.frontends.grpc_head import HEAD, CallHead
from service.frontends.held import HeldBytes
from service.frontends.http2.connection import Connection
from service.frontends.http2.stream import Stream
from service.inference import Inference
from service.protocol.messages import InferRequest, InferResponse
from service.telemetry import Telemetry
from service.wires import oip_proto

_OK = grpc.StatusCode.OK.name

_log = logging.getLogger(__name__)


class DirectFrontend:
    """Takes plain inferences.

    Args:
        dataplane: answers them.
        telemetry: hears of each.
        held: counts the bytes of requests.
        max_bytes: of a message.
    """

    def __init__(
        self, dataplane: DataPlane, telemetry: Telemetry, held: HeldBytes, *, max_bytes: int
    ) -> None:
        self.dataplane = dataplane
        self.telemetry = telemetry
        self.held = held
        self.max_bytes = max_bytes

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running one."""
        return asyncio.get_running_loop()

    def takes(self, head: CallHead) -> bool:
        """Whether a call of ModelInfer is plain."""
        return self.telemetry.access_log is None and not head.traced


class DirectCall:
    """One request and its answer. Takes what arrives on its stream.

    Args:
        frontend: what all of them share.
        connection: the connection.
        stream: the stream.
        head: what the call says of itself.
        over: called once, when it has ended.
    """

    __slots__ = (
        "_arrived",
        "_connection",
        "_deadline",
        "_done",
        "_frontend",
        "_head",
        "_held",
        "_id",
        "_inference",
        "_messages",
        "_model",
        "_over",
        "_stream",
        "_task",
        "_timer",
        "_whole",
    )

    def __init__(
        self,
        frontend: DirectFrontend,
        connection: Connection[CallHead],
        stream: Stream,
        head: CallHead,
        over: Callable[[DirectCall], object],
    ) -> None:
        self._frontend = frontend
        self._connection = connection
        self._stream = stream
        self._head = head
        self._over = over
        self._arrived = perf_counter()
        self._id = identity.request_id(head.request_id)
        self._held = 0
        self._model = ""
        self._done = False
        self._messages: Messages | None = None
        self._whole: list[grpc_framing.Message] = []
        self._inference: Inference | None = None
        self._task: asyncio.Task[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        if head.timeout is not None:
            self._deadline = frontend.loop.time() + head.timeout
            self._timer = frontend.loop.call_later(head.timeout, self._late)

    def data(self, data: bytes, *, ends: bool) -> None:
        """Part of the message, or all of it."""
        if self._done:
            return
        size = len(data)
        try:
            self._frontend.held.hold(size)
            self._held += size
            if (
                ends
                and self._messages is None
                and size >= PREFIX_BYTES
                and PREFIX.unpack_from(data) == (0, size - PREFIX_BYTES)
                and size <= self._frontend.max_bytes
            ):
                self._begin(data[PREFIX_BYTES:])
            else:
                self._gather(data, ends=ends)
        except LupineError as error:
            self._refuse(error)
        except Exception:  # noqa: BLE001 - a defect of ours is answered as every failure, and logged
            self._broke()

    def gone(self) -> None:
        """The client has gone: nobody waits for it."""
        if self._done:
            return
        if self._inference is not None:
            self._frontend.dataplane.withdraw(self._inference)
        if self._task is not None:
            self._task.cancel()
        left = self._deadline - self._frontend.loop.time()
        late = grpc_head.is_late(self._head.timeout, left)
        code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
        self._end(code.name, "")

    def writable(self) -> None:
        """The answer is on its way."""

    def _gather(self, data: bytes, *, ends: bool) -> None:
        if self._messages is None:
            self._messages = Messages(self._frontend.max_bytes)
        self._whole += self._messages.feed(data)
        self._connection.consumed(self._stream, len(data))
        if len(self._whole) > 1:
            raise InvalidRequestError("the call has more than the one message that is expected")
        if not ends:
            return
        if self._messages.partial or not self._whole:
            amid = "amid" if self._messages.partial else "without"
            raise InvalidRequestError(f"the call ends {amid} a message")
        ((compressed, message),) = self._whole
        self._whole = []
        if compressed:
            self._start(self._inflated(message))
        else:
            self._begin(message)

    async def _inflated(self, data: bytes) -> None:
        try:
            limit = self._frontend.max_bytes
            message = await grpc_framing.inflate(data, self._head.encoding, limit)
            self._frontend.held.hold(len(message))
            self._held += len(message)
            self._begin(message)
        except LupineError as error:
            self._refuse(error)
        except Exception:  # noqa: BLE001 - as above
            self._broke()

    def _begin(self, data: bytes) -> None:
        """The message is whole."""
        frontend = self._frontend
        message = oip_proto.parse_infer(data)
        self._model = message.model_name
        timeout = None
        if self._timer is not None:
            self._timer.cancel()  # from here on the data plane holds the deadline
            timeout = self._deadline - frontend.loop.time()
        request = oip_proto.decode_request(message, timeout=timeout)
        if frontend.dataplane.prompt:
            self._inference = frontend.dataplane.begin(request, self._settled)
        else:
            self._start(self._ask(request))

    async def _ask(self, request: InferRequest) -> None:
        """What is loaded has changed: the engine is asked first."""
        outcome: InferResponse | LupineError
        try:
            outcome = await self._frontend.dataplane.infer(request)
        except LupineError as error:
            outcome = error
        except Exception:  # noqa: BLE001 - as above
            self._broke()
            return
        self._settled(outcome)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._frontend.loop.create_task(work)

    def _settled(self, outcome: InferResponse | LupineError) -> None:
        self._inference = None
        if isinstance(outcome, LupineError):
            self._refuse(outcome)
            return
        try:
            reply: bytes = oip_proto.encode_response(outcome).SerializeToString()
        except LupineError as error:
            self._refuse(error)
            return
        except Exception:  # noqa: BLE001 - as above
            self._broke()
            return
        if not self._done:
            # Before the answer leaves: what a client has heard is counted, whenever we are killed.
            self._end(_OK, outcome.version)
            content = PREFIX.pack(0, len(reply)) + reply
            self._connection.out.answer(self._stream, HEAD, content, grpc_head.ok(self._id))

    def _late(self) -> None:
        """The message has not come whole in time."""
        self._refuse(DeadlineError("the call's deadline passed before its message was there"))
        if self._task is not None:
            self._task.cancel()

    def _refuse(self, error: LupineError) -> None:
        if isinstance(error, ShedError) and error.reason == "memory":  # met on this side
            self._frontend.telemetry.shed(self._label(), error.reason)
        self._fail(status.GRPC[type(error)], error.message, status.pushback(error))

    def _broke(self) -> None:
        _log.exception("request %s failed", self._id.decode())
        text = f"an error of the gateway itself; its log has it as {self._id.decode()}"
        self._fail(grpc.StatusCode.INTERNAL, text, ())

    def _fail(
        self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, str], ...]
    ) -> None:
        if not self._done:
            self._end(code.name, "")
            block = grpc_head.failed(code, shortened(details), self._id, trailers)
            self._connection.out.headers(self._stream, HEAD + block, ends=True)

    def _end(self, code: str, version: str) -> None:
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
        self._frontend.telemetry.request(
            model=self._label(),
            version=version,
            protocol="grpc",
            code=code,
            seconds=perf_counter() - self._arrived,
        )
        self._frontend.held.let_go(self._held)
        self._held = 0
        self._whole = []
        self._messages = None
        self._over(self)

    def _label(self) -> str:
        return self._frontend.dataplane.label(self._model)
