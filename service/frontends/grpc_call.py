"""One RPC as the gRPC frontend sees it: who asks, with what, how it is answered or refused.

Each has a task of its own; plain inferences have not (`grpc_direct`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import grpc

from service.errors import DeadlineError, InvalidRequestError, LupineError
from service.frontends import grpc_framing, grpc_head, identity, status
from service.frontends.grpc_framing import Message, Messages
from service.frontends.grpc_head import HEAD, CallHead
from service.frontends.grpc_method import Method, Streaming, Unary
from service.frontends.held import HeldBytes
from service.frontends.http2.connection import Connection
from service.frontends.http2.stream import Stream

_DETAIL_BYTES = 2000  # what a client takes as headers is limited, 8 KiB by default

_log = logging.getLogger(__name__)


class AbortError(Exception):
    """The RPC ends with a status."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.trailers = trailers


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a call may take, and how it is answered.

    Args:
        held: counts the bytes of requests.
        max_bytes: of a message.
        compression: of answers, for clients that take it; empty: none.
    """

    held: HeldBytes
    max_bytes: int
    compression: str


class Call:
    """One RPC, and its way back. Takes what arrives on its stream.

    Args:
        connection: the connection.
        stream: the stream.
        head: what the call says of itself.
        peer: the address and port at the other end.
        method: what answers.
        bounds: what it may take.
        over: called once, when it has ended.
    """

    def __init__(
        self,
        connection: Connection[CallHead],
        stream: Stream,
        head: CallHead,
        *,
        peer: tuple[str, int],
        method: Method,
        bounds: Bounds,
        over: Callable[[Call], object],
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._head = head
        self._method = method
        self._bounds = bounds
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._messages = Messages(bounds.max_bytes)
        self._unread: deque[Message] = deque()
        self._held = self._uncredited = 0
        self._ended = False  # by the client, who sends nothing more
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._begun = False  # the answer
        self._task: asyncio.Task[None] | None = None
        self._id = identity.request_id(head.request_id)
        self._peer = peer
        # Of a key given twice the last counts.
        self.metadata: dict[str, str] = {k: v for k, v in head.metadata if isinstance(v, str)}
        self.request_id = self._id.decode()
        self.done = False
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        if head.timeout is not None:
            self._deadline = self._loop.time() + head.timeout
            self._timer = self._loop.call_later(head.timeout, self._late)
        if isinstance(method, Streaming):
            self._task = self._loop.create_task(self._run(partial(method.serve, self)))

    # ------------------------------------------------------------------ for who answers

    @property
    def method(self) -> Method:
        """What answers."""
        return self._method

    @property
    def peer(self) -> str:
        """The address at the other end; empty where it has none."""
        return self._peer[0]

    @property
    def peer_name(self) -> str:
        """The address and the port."""
        host, port = self._peer
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def caller(self) -> int:
        """A number of the connection, which may have many calls at once."""
        return id(self._connection)

    @property
    def key(self) -> str:
        """What the caller names to meet the same canary each time, or nothing."""
        return self._head.key

    @property
    def timeout(self) -> float | None:
        """Seconds that the client still waits; None: it did not say."""
        return None if self._deadline is None else self._deadline - self._loop.time()

    @property
    def late(self) -> bool:
        """Whether the client's deadline is why it has gone."""
        return self._deadline is not None and grpc_head.is_late(
            self._head.timeout, self._deadline - self._loop.time()
        )

    def given(self, name: str) -> list[str]:
        """Every value of a key of the metadata."""
        found = self._head.metadata
        return [value for key, value in found if key == name and isinstance(value, str)]

    async def read(self) -> bytes | None:
        """The next message; None when the client has ended its half.

        Raises:
            LupineError: it cannot be decompressed.
        """
        while not self._unread:
            if self._ended:
                return None
            self._reading = self._loop.create_future()
            await self._reading
        compressed, data = self._unread.popleft()
        size = len(data) + grpc_framing.PREFIX_BYTES
        self._let_go(size)
        self._credit(min(size, self._uncredited) if self._unread else self._uncredited)
        if compressed:
            return await grpc_framing.inflate(data, self._head.encoding, self._bounds.max_bytes)
        return data

    async def write(self, message: bytes) -> None:
        """Send a message, and wait until the client's windows have let it go."""
        out, compression = self._connection.out, self._compression
        data = (
            await grpc_framing.compressed(message, compression)
            if compression
            else grpc_framing.framed(message)
        )
        if self.done:
            return  # in vain: its task is about to hear of it
        if not self._begun:
            self._begun = True
            out.headers(self._stream, grpc_head.head(compression) if compression else HEAD)
        self._writing = self._loop.create_future()
        out.data(self._stream, data)
        await self._writing

    async def refuse(self, error: LupineError) -> NoReturn:
        """End the RPC with the failure's status and reason."""
        await self.abort(status.GRPC[type(error)], error.message, *status.pushback(error))

    async def abort(
        self, code: grpc.StatusCode, details: str, *trailers: tuple[str, str]
    ) -> NoReturn:
        """End the RPC with a status."""
        raise AbortError(code, shortened(details), trailers)

    # ------------------------------------------------------------------ for the stream

    def data(self, data: bytes, *, ends: bool) -> None:
        """Part of the messages."""
        if self.done:
            return
        try:
            self._take(data, ends=ends)
        except LupineError as error:
            self._fail(error)
            self._stop()

    def gone(self) -> None:
        """The client has gone: what it asked for is not computed."""
        if not self.done:
            self._end()
            self._stop()

    def writable(self) -> None:
        """What was written has left."""
        if self._writing is not None and not self._writing.done():
            self._writing.set_result(None)

    # ------------------------------------------------------------------ within

    @property
    def _compression(self) -> str:
        wanted = self._bounds.compression
        return wanted if wanted in self._head.accepts else ""

    def _take(self, data: bytes, *, ends: bool) -> None:
        self._bounds.held.hold(len(data))
        self._held += len(data)
        self._uncredited += len(data)
        self._unread += self._messages.feed(data)
        if not self._unread or isinstance(self._method, Unary):
            self._credit(self._uncredited)  # there is nothing to read before more has come
        if ends:
            if self._messages.partial:
                raise InvalidRequestError("the call ends amid a message")
            self._ended = True
        if isinstance(self._method, Streaming):
            self._wake_reader()
        elif len(self._unread) > 1:
            raise InvalidRequestError("the call has more than the one message that is expected")
        elif ends:
            self._task = self._loop.create_task(self._run(partial(self._once, self._method)))

    def _wake_reader(self) -> None:
        if (self._unread or self._ended) and self._reading and not self._reading.done():
            self._reading.set_result(None)

    def _credit(self, size: int) -> None:
        """So many bytes have been read, as far as the client's window is concerned."""
        self._uncredited -= size
        self._connection.consumed(self._stream, size)

    async def _once(self, method: Unary) -> None:
        message = await self.read()
        if message is None:
            raise InvalidRequestError("the call ends without a message")
        reply = await method.answer(message, self)
        compression = self._compression
        if compression:
            content = await grpc_framing.compressed(reply, compression)
            head = grpc_head.head(compression)
        else:
            content, head = grpc_framing.framed(reply), HEAD
        if not self.done:
            self._end()
            self._connection.out.answer(self._stream, head, content, grpc_head.ok(self._id))

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
            self._finish(grpc_head.ok(self._id))
        except AbortError as abort:
            self._refuse(abort)
        except LupineError as error:
            self._fail(error)
        except asyncio.CancelledError:
            if not self.done:  # nobody but the loop's own end does this
                self._end()
                raise
        except Exception:  # noqa: BLE001 - a defect of ours is answered as every failure, and logged
            _log.exception("request %s failed", self.request_id)
            text = f"an error of the gateway itself; its log has it as {self.request_id}"
            self._refuse(AbortError(grpc.StatusCode.INTERNAL, text))

    def _late(self) -> None:
        if self.done:
            return
        self._fail(DeadlineError("the call's deadline passed before its answer was there"))
        self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _fail(self, error: LupineError) -> None:
        code, details = status.GRPC[type(error)], shortened(error.message)
        self._refuse(AbortError(code, details, status.pushback(error)))

    def _refuse(self, abort: AbortError) -> None:
        self._finish(grpc_head.failed(abort.code, abort.details, self._id, abort.trailers))

    def _finish(self, trailers: bytes) -> None:
        if not self.done:
            self._end()
            self._connection.out.end(self._stream, trailers if self._begun else HEAD + trailers)

    def _end(self) -> None:
        self.done = True
        if self._timer is not None:
            self._timer.cancel()
        self._unread.clear()
        self._let_go(self._held)
        self._over(self)

    def _let_go(self, size: int) -> None:
        self._held -= size
        self._bounds.held.let_go(size)


def shortened(details: str) -> str:
    """A reason that fits among a client's headers."""
    return details.encode()[:_DETAIL_BYTES].decode(errors="ignore")
