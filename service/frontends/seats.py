"""How many streams a worker has open: each may say nothing for ever, and holds a place."""

from __future__ import annotations

from service.errors import ShedError


class Seats:
    """Places for streams, of inference, health and reflection together.

    Args:
        limit: streams that may be open at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0

    def take(self) -> Seats:
        """Take one, as a context manager: the end of the block gives it back.

        Raises:
            ShedError: all are taken.
        """
        if self._taken >= self._limit:
            raise ShedError(
                f"the worker has {self._limit} streams open, its limit: retry later",
                reason="streams",
            )
        self._taken += 1
        return self

    def __enter__(self) -> None:
        """Nothing more to do."""

    def __exit__(self, *_: object) -> None:
        self._taken -= 1
