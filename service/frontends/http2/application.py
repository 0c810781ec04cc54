"""What answers the requests of a connection, as the connection sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from service.frontends.http2.headers import Fields

if TYPE_CHECKING:  # they know it, and are handed to it
    from service.frontends.http2.connection import Connection
    from service.frontends.http2.stream import Stream


class Receiver(Protocol):
    """Takes the rest of a request."""

    def data(self, data: bytes, *, ends: bool) -> None:
        """Part of the content, and whether the request ends with it."""

    def gone(self) -> None:
        """The stream has ended before its answer: nobody waits for it."""

    def writable(self) -> None:
        """All content that was sent so far is on its way."""


class Head(Protocol):
    """What the application has made of a request's fields."""

    @property
    def length(self) -> int | None:
        """Of the content, where the request says it."""


H = TypeVar("H", bound=Head)


class Application(Protocol[H]):
    """What answers the requests."""

    def read(self, fields: Fields, size: int) -> H:
        """What the fields of a request say; the same object serves for every request like it.

        Args:
            fields: names and values, pseudo-header fields first.
            size: of the list, as SETTINGS_MAX_HEADER_LIST_SIZE counts it.

        Raises:
            MalformedError: no request has such fields.
        """

    def open(self, connection: Connection[H], stream: Stream, head: H) -> Receiver:
        """A request begins. Returns what takes the rest of it."""
