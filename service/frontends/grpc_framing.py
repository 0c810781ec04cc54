"""Messages in the content of a stream: where each ends, and how it is compressed.

Source: "gRPC over HTTP2" (grpc/doc/PROTOCOL-HTTP2.md), Length-Prefixed-Message; "Compression"
(grpc/doc/compression.md).
"""

from __future__ import annotations

import asyncio
import struct
import zlib

from service.errors import InvalidRequestError, TooLargeError, UnsupportedError

PREFIX = struct.Struct(">BI")
"""Whether the message is compressed, and its length."""
PREFIX_BYTES = PREFIX.size
IDENTITY = "identity"
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""The encodings, with zlib's name for their formats: deflate is that of RFC 1950."""
ACCEPTED = ",".join((IDENTITY, *WINDOWS))

# More bytes than these would hold up the event loop. Inflated they may be a thousand times as many.
_INFLATE_IN_A_THREAD = 4 << 10
_DEFLATE_IN_A_THREAD = 256 << 10

Message = tuple[bool, bytes]
"""Whether it is compressed, and its bytes."""


class Messages:
    """Cuts what arrives into messages.

    Args:
        max_bytes: of a message, as it arrives.
    """

    __slots__ = ("_buffer", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    @property
    def partial(self) -> bool:
        """Whether a message has begun that is not whole."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are whole now.

        Raises:
            InvalidRequestError: this is no message.
            TooLargeError: one has, or says that it has, too many bytes.
        """
        if not self._buffer and (whole := self._whole(data)) is not None:
            return [whole]
        buffer = self._buffer
        buffer += data
        found: list[Message] = []
        at = 0
        with memoryview(buffer) as view:
            while len(view) - at >= PREFIX_BYTES:
                compressed, size = self._prefix(view, at)
                end = at + PREFIX_BYTES + size
                if end > len(view):
                    break
                found.append((compressed, bytes(view[at + PREFIX_BYTES : end])))
                at = end
        del buffer[:at]
        return found

    def _whole(self, data: bytes) -> Message | None:
        """The one message that the data is, as it mostly is."""
        if len(data) < PREFIX_BYTES:
            return None
        compressed, size = self._prefix(data, 0)
        return (compressed, data[PREFIX_BYTES:]) if len(data) == PREFIX_BYTES + size else None

    def _prefix(self, data: bytes | memoryview, at: int) -> tuple[bool, int]:
        flag, size = PREFIX.unpack_from(data, at)
        if flag > 1:
            raise InvalidRequestError(
                f"a message begins with the byte {flag}: 0, or 1 for a compressed one, is expected"
            )
        if size > self._max_bytes:
            raise TooLargeError(
                f"the message is larger than max_body_bytes: it has {size} bytes, at most "
                f"{self._max_bytes} are taken"
            )
        return bool(flag), size


async def inflate(data: bytes, encoding: str, limit: int) -> bytes:
    """A compressed message as it was.

    Args:
        data: as it came.
        encoding: what the call says of its messages.
        limit: bytes that it may have.

    Raises:
        UnsupportedError: the encoding is none of ours.
        InvalidRequestError: there is none, or the data is broken.
        TooLargeError: it has more than the limit.
    """
    window = WINDOWS.get(encoding)
    if window is None:
        if encoding == IDENTITY:
            raise InvalidRequestError("a message is compressed, and grpc-encoding does not say how")
        raise UnsupportedError(f"grpc-encoding is {encoding!r:.60}: {ACCEPTED} are offered here")
    if len(data) > _INFLATE_IN_A_THREAD:
        return await asyncio.to_thread(_inflate, data, window, limit)
    return _inflate(data, window, limit)


def _inflate(data: bytes, window: int, limit: int) -> bytes:
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise InvalidRequestError(f"a compressed message is broken: {error}") from None
    if len(plain) > limit:
        raise TooLargeError(
            f"the message is larger than max_body_bytes: it decompresses to more than the {limit} "
            "bytes taken"
        )
    if not stream.eof or stream.unused_data:
        raise InvalidRequestError("a compressed message ends too early, or more follows its end")
    return plain


def framed(message: bytes) -> bytes:
    """A message as it is sent."""
    return PREFIX.pack(0, len(message)) + message


async def compressed(message: bytes, encoding: str) -> bytes:
    """The same, in an encoding."""
    window = WINDOWS[encoding]
    if len(message) > _DEFLATE_IN_A_THREAD:
        data = await asyncio.to_thread(_deflate, message, window)
    else:
        data = _deflate(message, window)
    return PREFIX.pack(1, len(data)) + data


def _deflate(message: bytes, window: int) -> bytes:
    stream = zlib.compressobj(wbits=window)
    return stream.compress(message) + stream.flush()
