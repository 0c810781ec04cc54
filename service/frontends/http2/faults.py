"""What a peer does wrong, and how far the harm goes.

Source: RFC 9113, section 5.4.
"""

from __future__ import annotations

from service.frontends.http2.frames import ErrorCode


class ConnectionFault(Exception):  # noqa: N818 - the RFC's "connection error", kept apart from Python's
    """Section 5.4.1: the connection cannot go on; GOAWAY says why.

    Args:
        code: for the peer's program.
        text: for a human.
    """

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class StreamFault(Exception):  # noqa: N818 - as above
    """Section 5.4.2: one stream ends by RST_STREAM, the others go on.

    Args:
        stream: its number.
        code: why.
    """

    def __init__(self, stream: int, code: ErrorCode) -> None:
        super().__init__(f"stream {stream}: {code.name}")
        self.stream = stream
        self.code = code


class MalformedError(Exception):
    """Section 8.1.1: a request whose header fields cannot be; its stream ends."""


def calm(text: str) -> ConnectionFault:
    """The fault of a peer that does what is allowed, but too much of it."""
    return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, text)


def check_size(what: str, payload: bytes, size: int) -> None:
    """Look at a payload of fixed size.

    Raises:
        ConnectionFault: it has another.
    """
    if len(payload) != size:
        raise ConnectionFault(
            ErrorCode.FRAME_SIZE_ERROR, f"{what} has {len(payload)} bytes, {size} are expected"
        )
