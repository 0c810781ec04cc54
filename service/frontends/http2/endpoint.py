"""The edge: a connection on the event loop, with its clocks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from service.frontends.http2.application import Application
from service.frontends.http2.connection import Connection
from service.frontends.http2.faults import ConnectionFault
from service.frontends.http2.frames import ErrorCode

_HIGH_WATER = 1 << 18  # bytes that wait for the kernel, before requests are read no further
_LINGER_SECONDS = 0.5  # for the peer to read our last word, before a reset may overtake it
_HEARD_SECONDS = 1.0  # a peer that answers no PING has heard of the end by then


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a connection may take, and how long.

    Args:
        max_header_bytes: of a request's list of fields.
        handshake_seconds: until the preface and SETTINGS have come; an answer to our PING too.
        idle_seconds: of silence, until we PING.
        stall_seconds: that a peer may take nothing of what we send.
    """

    max_header_bytes: int
    handshake_seconds: float
    idle_seconds: float
    stall_seconds: float


class Endpoint(asyncio.Protocol):
    """Carries bytes between a transport and a `Connection`.

    Args:
        application: makes what answers the requests of a peer, given its address and port.
        bounds: what a connection may take.
        ended: called with this when the connection is gone.
        draining: whether the client shall go as soon as it has come.
    """

    def __init__(
        self,
        application: Callable[[tuple[str, int]], Application[Any]],
        bounds: Bounds,
        ended: Callable[[Endpoint], object],
        *,
        draining: bool = False,
    ) -> None:
        self._application = application
        self._bounds = bounds
        self._ended = ended
        self._draining = draining
        self._loop = asyncio.get_running_loop()
        self._made = False
        self._receiving = False
        self._waiting = False  # for the next turn of the loop, to write
        self._closing = False
        self._watch: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._drains: asyncio.TimerHandle | None = None
        self._lingers: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport
        self.http2: Connection[Any]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Greet."""
        self.transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        peer = transport.get_extra_info("socket")
        if peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._receiving = True
        self.http2 = Connection(
            self._application(_peer(transport.get_extra_info("peername"))),
            self._wake,
            max_header_bytes=self._bounds.max_header_bytes,
            now=self._loop.time(),
        )
        self._receiving = False
        self._made = True
        self._flush()
        self._watch = self._loop.call_later(self._bounds.handshake_seconds, self._handshake)
        if self._draining:
            self.drain()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self._receiving = True
        try:
            self.http2.receive(data, self._loop.time())
        finally:
            self._receiving = False
        self._flush()

    def eof_received(self) -> bool:
        """The peer sends no more, and no client of gRPC's takes answers then: close."""
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        """Nobody waits for anything any more."""
        self._closing = True
        for timer in (self._watch, self._stalled, self._drains, self._lingers):
            if timer is not None:
                timer.cancel()
        self.http2.lost()
        self._ended(self)

    def pause_writing(self) -> None:
        """The peer does not read: neither do we."""
        self.http2.out.pause(paused=True)
        if not (self._closing or self.transport.is_closing()):
            self.transport.pause_reading()
            self._stalled = self._loop.call_later(self._bounds.stall_seconds, self.abort)

    def resume_writing(self) -> None:
        """It does again."""
        self.http2.out.pause(paused=False)
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        if not (self._closing or self.transport.is_closing()):
            self.transport.resume_reading()
            self._flush()

    def drain(self) -> None:
        """Send the client elsewhere; the connection ends with its last answer."""
        self._draining = True
        if self._made and not self._closing:
            self.http2.drain()
            self._drains = self._loop.call_later(_HEARD_SECONDS, self._drained)

    def abort(self) -> None:
        """Cut it."""
        self.transport.abort()

    def _drained(self) -> None:
        self.http2.drained()
        self._flush()

    def _wake(self) -> None:
        """There is something to write: now, or when this turn of the loop is over."""
        if not self._receiving and not self._waiting:
            self._waiting = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._waiting = False
        if self._closing:
            return
        out, transport = self.http2.out, self.transport
        self._receiving = True  # whoever is told that there is room again may write at once
        while parts := out.take():
            transport.write(b"".join(parts))
        self._receiving = False
        if self.http2.done:
            self._close()

    def _close(self) -> None:
        self._closing = True
        # A close would be a reset where something arrives later, such as a WINDOW_UPDATE, and might
        # overtake what we said last. So the peer closes first, if it does so soon.
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
        self._lingers = self._loop.call_later(_LINGER_SECONDS, self.abort)

    def _handshake(self) -> None:
        if not self.http2.greeted:
            self._give_up(ErrorCode.SETTINGS_TIMEOUT, "no preface and SETTINGS within the time")
        else:
            self._watch_silence()

    def _watch_silence(self) -> None:
        left = self.http2.heard + self._bounds.idle_seconds - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._watch_silence)
            return
        self.http2.probe()
        self._watch = self._loop.call_later(
            self._bounds.handshake_seconds, self._heard, self.http2.heard
        )

    def _heard(self, before: float) -> None:
        if self.http2.heard > before:
            self._watch_silence()
        else:
            self.abort()

    def _give_up(self, code: ErrorCode, text: str) -> None:
        if self.http2.failed is None:
            self.http2.fail(ConnectionFault(code, text))
            self._flush()


def _peer(name: object) -> tuple[str, int]:
    """The address and port at the other end; nothing where it has none."""
    if not isinstance(name, tuple) or len(name) < 2:  # noqa: PLR2004 - not TCP
        return "", 0
    return str(name[0]).removeprefix("::ffff:"), int(name[1])
