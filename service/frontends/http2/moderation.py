"""How much a peer may ask of a connection beside what is answered.

Every frame costs its sender something, by what it costs us; answers and content earn it back, and
so does time. Who has spent all is told ENHANCE_YOUR_CALM. So a flood of whatever is cheap to send
(resets, PINGs, SETTINGS, empty frames) ends soon, and no client that is served ever notices.

Source: RFC 9113, section 10.5; CVE-2019-9511 to -9518, CVE-2023-44487 and CVE-2025-8671, which such
counts answer. Pings: gRPC's "Keepalive" (gRFC A8).
"""

from __future__ import annotations

import math

from service.frontends.http2.faults import calm

FRAME = 1.0
"""The cost of any frame."""
NOTHING = 10.0
"""Of a frame that says nothing, or asks for a reply."""
RESET = 10.0
"""Of a stream that its client gives up, or that we had to refuse."""
WRONG = 50.0
"""Of a stream that we must reset."""
ANSWERED = 20.0
"""What an answer earns; on a stream of many, each of them."""
CONTENT = 1 / 64
"""What each byte of a request's content earns."""

_FIRST = 2_000.0  # to begin with
_MOST = 10_000.0  # what can be saved up
_PER_SECOND = 1_000.0

PING_SECONDS = 10.0
"""Pings that no answer has come between must be so far apart."""
_STRIKES = 2  # pings that may come sooner


class Moderation:
    """What one peer has left.

    Args:
        now: seconds of a monotonic clock.
    """

    __slots__ = ("_left", "_pinged", "_since", "_strikes")

    def __init__(self, now: float) -> None:
        self._left = _FIRST
        self._since = now
        self._pinged = -math.inf
        self._strikes = 0

    def spend(self, cost: float, now: float) -> None:
        """Something came.

        Raises:
            ConnectionFault: it was too much.
        """
        self._left -= cost
        if self._left < 0:
            self._left = min(_MOST, self._left + (now - self._since) * _PER_SECOND)
            self._since = now
            if self._left < 0:
                raise calm("too many frames that lead to nothing")

    def earn(self, gain: float) -> None:
        """Something was worth it."""
        self._left = min(_MOST, self._left + gain)

    def spoken(self) -> None:
        """We have sent HEADERS or DATA: a ping may follow at any time."""
        if self._strikes or self._pinged > 0:
            self._strikes = 0
            self._pinged = -math.inf

    def pinged(self, now: float) -> None:
        """A PING came.

        Raises:
            ConnectionFault: too many came too soon.
        """
        if now - self._pinged < PING_SECONDS:
            self._strikes += 1
            if self._strikes > _STRIKES:
                raise calm("too_many_pings")
        self._pinged = now
