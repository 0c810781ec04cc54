"""Runs at Triton over HTTP/1.1: connections that stay open, one run at a time on each.

A run over `grpc.aio` takes five times the CPU and twice the latency (`docs/adr/0011`). Control,
streams and servers of which only the gRPC address is known stay with gRPC.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httptools

from service.engines.shared_memory import Lease, Slots
from service.errors import (
    EngineError,
    InvalidRequestError,
    LupineError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from service.protocol.concat import concat
from service.protocol.messages import Parameter, Servable, Tensor
from service.protocol.span import Span
from service.wires import oip_client

_OK = 200
_MAX_CONNECTIONS = 256
_CONNECT_SECONDS = 5.0
_LENGTH = b"inference-header-content-length"
# Triton answers 400 to most of what its client may have done wrong, and to some troubles of its
# own.
_ERRORS: Mapping[int, type[LupineError]] = {
    400: InvalidRequestError,
    404: NotFoundError,
    501: UnsupportedError,
    503: UnavailableError,
}
_AWAY = "Triton is not available: "


class HttpRuns:
    """Asks one Triton to run models.

    Args:
        address: `HOST:PORT` of its HTTP endpoint.
        slots: shared memory that it reads large inputs from; None: there is none.
    """

    def __init__(self, address: str, slots: Slots | None = None) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._address = address
        self._slots = slots
        self._idle: list[_Connection] = []  # the one used last is the one used next
        self._all: set[_Connection] = set()
        self._opening = 0
        self._loop = asyncio.get_running_loop()  # asked for each run it would be a system call
        self._turns: deque[asyncio.Future[None]] = deque()  # of those who wait for a connection

    async def infer(
        self,
        servable: Servable,
        inputs: Sequence[Mapping[str, Tensor]],
        outputs: Sequence[str],
        parameters: Mapping[str, Parameter],
        span: Span | None,
    ) -> dict[str, Tensor]:
        """Run one batch on the exact version. Cancelled, it closes its connection.

        Args:
            servable: the version.
            inputs: of each request in the batch.
            outputs: the names wanted.
            parameters: for the model.
            span: whose trace goes with it.

        Raises:
            LupineError: the run failed, or Triton is away.
        """
        head = _target(servable.name, servable.version, self._address)
        if span is not None:
            head += _context(span)
        connection = await self._connection()
        answer: _Answer | None = None
        try:
            if self._slots is not None:
                lease = self._slots.place(inputs)  # and sent at once: nobody waits with a slot
                if lease is not None:
                    asked = oip_client.encode_request(lease.inputs, outputs, parameters)
                    answer = await _leased(self._slots, lease, connection.ask(head, *asked))
            if answer is None:
                asked = oip_client.encode_request(concat(inputs), outputs, parameters)
                answer = await connection.ask(head, *asked)
        except BaseException:
            connection.abort()  # what it answers later would be taken for the next one's
            raise
        if connection.reusable:
            self._idle.append(connection)
        self._next()
        if answer.status != _OK:
            text = oip_client.reason(answer.body) or f"HTTP status {answer.status}"
            kind = _ERRORS.get(answer.status, EngineError)
            raise kind(_AWAY + text if kind is UnavailableError else text)
        return oip_client.decode_outputs(answer.body, answer.header_length)

    def close(self) -> None:
        """Close every connection; runs on them fail."""
        for connection in list(self._all):
            connection.abort()

    async def _connection(self) -> _Connection:
        while True:
            if self._idle:
                return self._idle.pop()
            if len(self._all) + self._opening < _MAX_CONNECTIONS:
                return await self._open()
            turn = self._loop.create_future()
            self._turns.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()  # somebody else takes it
                raise

    async def _open(self) -> _Connection:
        self._opening += 1
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, connection = await self._loop.create_connection(
                    functools.partial(_Connection, self._loop, self._lost), self._host, self._port
                )
        except (OSError, TimeoutError) as error:
            self._next()
            raise UnavailableError(f"{_AWAY}{self._address}: {error or 'no answer'}") from None
        finally:
            self._opening -= 1
        self._all.add(connection)
        return connection

    def _lost(self, connection: _Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._next()

    def _next(self) -> None:
        """A connection is free, or may be opened."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class _Answer:
    """One response, as it arrives."""

    __slots__ = ("_parts", "header_length", "status")

    def __init__(self) -> None:
        self.status = 0
        self.header_length: int | None = None
        self._parts: list[bytes] = []

    def add(self, part: bytes) -> None:
        self._parts.append(part)

    @property
    def body(self) -> memoryview:
        parts = self._parts
        return memoryview(parts[0] if len(parts) == 1 else b"".join(parts))


class _Connection(asyncio.Protocol):
    """One connection, with at most one run on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Any) -> None:
        self._loop = loop
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[_Answer] | None = None
        self._answer = _Answer()
        self._parser: Any = None
        self.reusable = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ready to send."""
        self._transport = transport

    def send(self, parts: Sequence[oip_client.Part]) -> asyncio.Future[_Answer]:
        """Send a request; its answer, or UnavailableError, comes in the future."""
        self.reusable = False
        self._waiting = self._loop.create_future()
        if self._transport is None or self._transport.is_closing():
            self._waiting.set_exception(UnavailableError(f"{_AWAY}the connection was closed"))
            return self._waiting
        self._answer = _Answer()
        self._parser = httptools.HttpResponseParser(self)
        self._transport.writelines(parts)
        return self._waiting

    def ask(
        self, head: bytes, header: bytes, blobs: Sequence[oip_client.Part]
    ) -> asyncio.Future[_Answer]:
        """Send a run, as `send` does: lines of the head, JSON, tensors."""
        size = len(header) + sum(len(blob) for blob in blobs)
        lengths = b"content-length: %d\r\n%b: %d\r\n\r\n" % (size, _LENGTH, len(header))
        return self.send([head, lengths, header, *blobs])

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        if self._waiting is None or self._waiting.done():
            self.abort()  # nothing was asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._waiting.set_exception(EngineError(f"the engine's answer is broken: {error}"))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits is told."""
        if self._waiting is not None and not self._waiting.done():
            text = f"the connection was lost{f': {exc}' if exc else ''}"
            self._waiting.set_exception(UnavailableError(_AWAY + text))
        self._parser = self._transport = None
        self._lost(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """The one that counts."""
        if name.lower() == _LENGTH and value.isdigit():
            self._answer.header_length = int(value)

    def on_body(self, part: bytes) -> None:
        """Part of the body."""
        self._answer.add(part)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self._answer.status = self._parser.get_status_code()
        self.reusable = self._parser.should_keep_alive()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._answer)


async def _leased(slots: Slots, lease: Lease, answering: asyncio.Future[_Answer]) -> _Answer | None:
    """The answer to a run with a slot, which ends with it; None: Triton does not know the slot."""
    try:
        answer = await answering
    except BaseException:
        slots.retire(lease)
        raise
    if answer.status != _OK and lease.slot.name in oip_client.reason(answer.body):
        slots.forget(lease)
        return None
    slots.release(lease)
    return answer


@functools.lru_cache(maxsize=1024)
def _target(model: str, version: str, address: str) -> bytes:
    path = f"/v2/models/{quote(model, safe='')}/versions/{version}/infer"
    return f"POST {path} HTTP/1.1\r\nhost: {address}\r\n".encode()


def _context(span: Span) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in span.context())
