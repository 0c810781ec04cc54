"""Inference over gRPC without a task: from the stream to the data plane and back.

What is plain takes this way: ModelInfer of which nobody keeps a record, answered uncompressed. A
task, a future and the messages between them cost more than all the rest (`docs/adr/0015`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

import grpc

from service.errors import DeadlineError, InvalidRequestError, LupineError, ShedError
from service.frontends import grpc_framing, grpc_head, identity, status
from service.frontends.direct import DirectInference, DirectParts
from service.frontends.grpc_call import shortened
from service.frontends.grpc_framing import PREFIX, PREFIX_BYTES, Messages
from service.frontends.grpc_head import HEAD, CallHead
from service.frontends.http2.connection import Connection
from service.frontends.http2.stream import Stream
from service.inference import Inference
from service.protocol.messages import InferResponse
from service.wires import oip_proto

_OK = grpc.StatusCode.OK.name


class DirectFrontend(DirectParts):
    """Takes plain inferences."""

    def takes(self, head: CallHead) -> bool:
        """Whether a call of ModelInfer is plain."""
        return self.telemetry.access_log is None and not head.traced


class DirectCall(DirectInference):
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
            loop = asyncio.get_running_loop()
            self._deadline = loop.time() + head.timeout
            self._timer = loop.call_later(head.timeout, self._late)

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
        self._withdraw()
        left = self._deadline - asyncio.get_running_loop().time()
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
        message = oip_proto.parse_infer(data)
        self._model = message.model_name
        timeout = None
        if self._timer is not None:
            self._timer.cancel()  # from here on the data plane holds the deadline
            timeout = self._deadline - asyncio.get_running_loop().time()
        request = oip_proto.decode_request(message, timeout=timeout, key=self._head.key)
        self._put(request, id(self._connection))

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

    def _tell_broken(self, text: str) -> None:
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
        self._release()
        self._whole = []
        self._messages = None
        self._over(self)
