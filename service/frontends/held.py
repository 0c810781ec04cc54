"""How many bytes of requests a worker holds, over both wires."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import ShedError


class HeldBytes:
    """A count with a limit.

    Args:
        limit: bytes that may be held at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    @property
    def count(self) -> int:
        """Bytes held now."""
        return self._held

    def hold(self, count: int) -> None:
        """Hold so many more.

        Raises:
            ShedError: they would be too many; none is held.
        """
        if self._held + count > self._limit:
            raise ShedError(
                f"the gateway holds {self._held} bytes of requests, at most {self._limit}: "
                "retry later",
                reason="memory",
            )
        self._held += count

    def let_go(self, count: int) -> None:
        """So many are no longer held."""
        self._held -= count

    @contextmanager
    def holding(self, count: int) -> Iterator[None]:
        """Hold so many for as long as the block takes.

        Raises:
            ShedError: they would be too many.
        """
        self.hold(count)
        try:
            yield
        finally:
            self.let_go(count)
