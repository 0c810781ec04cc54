"""uvicorn's HTTP protocol with the limits that a public server needs.

uvicorn bounds neither the size of a request's head nor the time that head and body may take, and
`bentoml serve` passes none of its settings on but a short keep-alive. So the limits live in a
subclass, which the workers register before their server starts (`docs/adr/0003`).
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import struct
import termios
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Any, NoReturn

import httptools
import uvicorn.config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.frontends.direct_cycle import Direct, DirectCycle
from service.settings import Server

CONNECTION = "lupine.connection"
"""The key under which a request's scope holds its `GuardedProtocol`."""

_FIRST_REQUEST_SECONDS = 1.0  # after which a new connection is as idle as any, when draining


class _Phase(Enum):
    IDLE = auto()  # between requests: keep-alive
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()  # the request is complete


class GuardedProtocol(HttpToolsProtocol):
    """One connection.

    `limits` is set once per process by `install`, `direct` by `answer_directly`, and `draining` by
    `drain`.
    """

    limits: Server
    direct: Direct | None = None
    draining = False
    cycle: Any  # uvicorn's, or a DirectCycle, which looks like one
    _defaults: tuple[Any, bytes] = ((), b"")  # the server's headers for every answer, and as bytes

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.timeout_keep_alive = self.limits.keep_alive_seconds  # type: ignore[assignment]  # call_later takes both
        self.ws_protocol_class = None  # its connections would know nothing of `drain`
        self._phase = _Phase.IDLE
        self._made = self.loop.time()
        self._last: Any = None  # the cycle whose answer says that it is the last
        self._head_bytes = 0  # of a head, as far as it has been parsed
        self._untold = 0  # bytes since the parser last told of anything: it keeps them
        self._active = 0.0  # when a body last moved
        self._watch: asyncio.TimerHandle | None = None
        self._refusal: tuple[int, str] | None = None
        self.gone = False
        self.when_gone: Callable[[], object] | None = None  # called once, at the connection's end
        self.when_closed: Callable[[], object] | None = None  # the same; its server's

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection must begin a request as soon as an idle one must."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            # asyncio sets it only where the listening socket names TCP. Without it an answer's body
            # waits for the client to acknowledge its head: 40 ms.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more, and nothing kept."""
        self._unwatch()
        self._unset_keepalive_if_required()  # uvicorn lets it run on after a reset
        self.gone = True
        direct = isinstance(self.cycle, DirectCycle)
        if direct:
            self.cycle.gone()
        super().connection_lost(exc)
        if direct:
            self.cycle = None  # as the scope below
        if self.scope is not None:  # it points back here: only the collector would free the two
            self.scope.pop(CONNECTION, None)  # type: ignore[misc]  # a key of ours
        for hear in (self.when_gone, self.when_closed):
            if hear is not None:
                hear()

    def data_received(self, data: bytes) -> None:
        """Parse, bound what the parser keeps to itself, and start the clock on what is missing."""
        self._untold += len(data)  # the callbacks below set it back
        super().data_received(data)
        if self.transport.is_closing():
            self._unwatch()
        elif self._phase is _Phase.HEAD or self._phase is _Phase.BODY:
            if self._untold > self.limits.max_header_bytes:
                self._refuse(431, self._too_long())
                return
            self._active = self.loop.time()
            if self._watch is None:
                self._arm()
        else:
            self._unwatch()
            if self.timeout_keep_alive_task is None and not self._is_answering():
                self._await_request()  # an empty line began none

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self.scope[CONNECTION] = self  # type: ignore[literal-required]  # a key of ours
        self._phase = _Phase.HEAD
        self._head_bytes = self._untold = 0

    def on_url(self, url: bytes) -> None:
        """Part of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or trailer."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: the body's clock takes over."""
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):  # the parser takes HTTP/0.9 too
            self._reject("the request line names no HTTP version: HTTP/1.1 is expected")
        if version == "1.1" and sum(name == b"host" for name, _ in self.headers) != 1:
            # RFC 9112, section 3.2: what is behind a proxy must not guess which host was meant.
            self._reject("the request has not exactly one header Host")
        upgrade = self.parser.should_upgrade()  # or CONNECT
        if upgrade and self._has_body():  # the parser would read it as the next request
            self._reject("a request that asks for an upgrade cannot have a body: ask without")
        self._phase = _Phase.BODY
        self._untold = 0
        self._unwatch()
        taken = self._take() if version == "1.1" and not upgrade else None
        if taken is not None:
            self.cycle = taken
        else:
            super().on_headers_complete()
        if upgrade:
            self.cycle.keep_alive = False  # what came behind the head is lost
        if self.draining:
            self.wind_down()

    def _take(self) -> DirectCycle | None:
        """The request that begins, if nothing before it is unanswered or unread."""
        if self.direct is None or self._is_answering() or self.flow.write_paused:
            return None
        return self.direct.take(self)

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        self._untold = 0
        if isinstance(self.cycle, DirectCycle):
            self.cycle.add(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._phase = _Phase.ANSWER
        if isinstance(self.cycle, DirectCycle):
            self.cycle.whole()
        else:
            super().on_message_complete()

    def default_head(self) -> bytes:
        """The headers that the server gives to every answer, such as the date."""
        headers, found = GuardedProtocol._defaults
        if headers is not self.server_state.default_headers:  # a new list with each second
            headers = self.server_state.default_headers
            found = b"".join(b"%b: %b\r\n" % header for header in headers)
            GuardedProtocol._defaults = headers, found
        return found

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed, in the form of every other refusal."""
        code, text = self._refusal or (400, msg)
        self._refuse(code, text)

    def wind_down(self) -> None:
        """Let the last answer that is due say that it is the last, and close the connection."""
        if self.cycle is None or self.cycle.response_started or not self.cycle.keep_alive:
            return
        if self._last is not None and not self._last.response_started:
            self._last.keep_alive = True  # another request was sent ahead
        self._last = self.cycle
        self.cycle.keep_alive = False

    def close_if_idle(self) -> None:
        """Close it unless a request is being read or answered, or about to be read."""
        fresh = self._phase is _Phase.IDLE and self.loop.time() - self._made < self._patience()
        if not (self._is_busy() or fresh or _unread(self.transport)):
            self.transport.close()

    def cut(self, text: str) -> bool:
        """Close it whatever happens on it. Returns whether a request was lost."""
        if not self._is_busy():
            self.transport.close()
            return False
        self._refuse(503, text, b"retry-after: 1\r\n")
        return True

    def _unsupported_upgrade_warning(self) -> None:
        """It is answered as if it had not asked; uvicorn would advise to install something."""

    def _has_body(self) -> bool:
        told = (b"content-length", b"transfer-encoding")
        return any(name in told and value != b"0" for name, value in self.headers)

    def _is_busy(self) -> bool:
        return self._phase is _Phase.HEAD or self._is_answering()

    def _patience(self) -> float:
        return min(_FIRST_REQUEST_SECONDS, self.timeout_keep_alive)

    def _await_request(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _reject(self, text: str) -> NoReturn:
        self._refusal = (400, text)
        raise httptools.HttpParserError(text)

    def _count(self, octets: int) -> None:
        self._untold = 0
        self._head_bytes += octets
        if self._head_bytes > self.limits.max_header_bytes:
            self._refusal = (431, self._too_long())
            raise httptools.HttpParserError(self._too_long())

    def _too_long(self) -> str:
        return f"the request's head has more than {int(self.limits.max_header_bytes)} bytes"

    def _arm(self) -> None:
        pause = (
            self.limits.header_seconds
            if self._phase is _Phase.HEAD
            else self.limits.body_idle_seconds
        )
        self._watch = self.loop.call_later(pause, self._overdue, self._phase, self._active)

    def _overdue(self, phase: _Phase, since: float) -> None:
        self._watch = None
        if phase is not self._phase:
            self._arm()
        elif phase is _Phase.HEAD:
            self._refuse(
                408, f"the request's head took longer than {self.limits.header_seconds:g} s"
            )
        elif phase is _Phase.BODY and self._active > since:
            self._arm()  # it moved meanwhile
        elif phase is _Phase.BODY:
            self._refuse(408, f"the body paused for {self.limits.body_idle_seconds:g} s")

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _refuse(self, code: int, text: str, header: bytes = b"") -> None:
        """Answer, unless the client would take it for the answer to another request; close."""
        self._unwatch()
        if self.transport.is_closing():
            return
        behind_another = bool(self.pipeline) or self._phase is _Phase.HEAD
        if not self._is_answering() or not (behind_another or self.cycle.response_started):
            body = json.dumps({"error": text}).encode()
            head = (
                STATUS_LINE[code],
                b"content-type: application/json\r\n",
                header,
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode(),
            )
            self.transport.write(b"".join((*head, body)))
        self.transport.close()


def install(limits: Server) -> None:
    """Make every uvicorn server of this process that chooses by itself use the guarded protocol."""
    GuardedProtocol.limits = limits
    GuardedProtocol.draining = False
    GuardedProtocol.direct = None
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{GuardedProtocol.__name__}"


def answer_directly(direct: Direct) -> None:
    """Let `direct` answer what it takes, on every connection of this process."""
    GuardedProtocol.direct = direct


def drain(connections: Iterable[GuardedProtocol]) -> None:
    """From now on each answer of this process closes its connection, and says so.

    Args:
        connections: those that there are.
    """
    GuardedProtocol.draining = True
    for connection in connections:
        connection.wind_down()


def _unread(transport: asyncio.Transport) -> bool:
    """Whether bytes have arrived that nobody has read: to close then would reset the connection."""
    connection = transport.get_extra_info("socket")
    if connection is None or transport.is_closing():
        return False
    try:
        told = fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4))
    except OSError:
        return False
    return bool(struct.unpack("i", told)[0])
