"""A request that bypasses ASGI, as the HTTP server sees it."""

from __future__ import annotations

from typing import Any, Protocol


class DirectCycle:
    """A request that is answered without ASGI, as the server's own cycles look to the server."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete",
                 "response_started")  # fmt: skip

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.response_started = self.response_complete = self.disconnected = False
        self.message_event = _NOBODY_LISTENS

    def add(self, part: bytes) -> None:
        """Part of the body."""
        raise NotImplementedError

    def whole(self) -> None:
        """The request is whole."""
        raise NotImplementedError

    def gone(self) -> None:
        """The connection has ended."""
        raise NotImplementedError


class _Silent:
    """In the place of the event on which an ASGI application waits."""

    def set(self) -> None:
        """Nobody waits."""


_NOBODY_LISTENS = _Silent()


class Direct(Protocol):
    """Answers some requests without ASGI."""

    def take(self, connection: Any) -> DirectCycle | None:
        """The cycle of the request whose head is whole; None where ASGI shall have it."""
