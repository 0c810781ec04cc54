"""One stream: a request and its answer, and how far each half has come.

Source: RFC 9113, section 5.
"""

from __future__ import annotations

from collections import deque

from service.frontends.http2.application import Receiver

INITIAL_WINDOW = 1 << 20
"""SETTINGS_INITIAL_WINDOW_SIZE: bytes of a request that may arrive unread."""
_TOLD_FROM = INITIAL_WINDOW // 2  # bytes that have been read, before the peer hears of it


class Stream:
    """What both ends know of it.

    Args:
        number: its identifier.
        window: bytes that the peer takes before it says more.
        length: of the content, where the request says it.
    """

    __slots__ = (
        "content",
        "inbound",
        "length",
        "number",
        "queue",
        "read",
        "receiver",
        "remote_closed",
        "trailers",
        "window",
    )

    def __init__(self, number: int, window: int, length: int | None) -> None:
        self.number = number
        self.window = window
        self.length = length
        self.content = 0  # bytes that have arrived
        self.inbound = INITIAL_WINDOW
        self.read = 0  # bytes that the peer has not been told of yet
        self.receiver: Receiver | None = None
        self.remote_closed = False
        self.queue: deque[memoryview] = deque()  # content that waits for a window
        self.trailers: bytes | None = None  # behind it

    def credit(self, size: int) -> int:
        """So many bytes have been read. Returns the increment that the peer shall hear of."""
        self.read += size
        if self.remote_closed or self.read < _TOLD_FROM:
            return 0
        told, self.read = self.read, 0
        self.inbound += told
        return told
