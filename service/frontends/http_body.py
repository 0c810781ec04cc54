"""Bodies: a request's, read and decompressed within its limits; an answer's, compressed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from service.errors import InvalidRequestError, TooLargeError
from service.frontends.held import HeldBytes

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# More bytes than these would hold up the event loop. Inflated they may be a thousand times as many.
_INFLATE_IN_A_THREAD = 4 << 10
_DEFLATE_IN_A_THREAD = 256 << 10
_WORTH_COMPRESSING = 1024


class ClientGoneError(Exception):
    """The connection ended before the request did: there is nobody to answer."""


class Bodies:
    """Reads bodies, within the bytes that the worker may hold.

    Args:
        held: counts all that are being read or answered.
        max_bytes: of one body, before and after decompression.
    """

    def __init__(self, held: HeldBytes, *, max_bytes: int) -> None:
        self._held = held
        self._max_bytes = max_bytes

    async def read(self, receive: Receive, declared: str | None, encoding: str | None) -> Body:
        """The whole body, decompressed.

        Args:
            receive: ASGI's.
            declared: the Content-Length header.
            encoding: the Content-Encoding header.

        Raises:
            TooLargeError: it is, or would be, over the limit.
            ShedError: the worker holds as many bytes as it may.
            InvalidRequestError: the encoding is unknown, or broken.
            ClientGoneError: the client went away.
        """
        if declared is not None and int(declared) > self._max_bytes:
            raise TooLargeError(
                f"the body has {int(declared)} bytes, at most {self._max_bytes} are taken"
            )
        body = Body(self._held)
        try:
            data = await self._receive(receive, body)
            if encoding and encoding.lower() != "identity":
                data = await self._inflate(data, encoding, body)
        except BaseException:
            body.release()
            raise
        body.data = memoryview(data)
        return body

    async def _receive(self, receive: Receive, body: Body) -> bytes | bytearray:
        message = await receive()
        first: bytes = message.get("body", b"")
        if message["type"] == "http.request" and not message.get("more_body"):
            self._check(len(first))  # a chunked one declares nothing, even when it came at once
            body.hold(len(first))
            return first
        whole = bytearray()
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part: bytes = message.get("body", b"")
            self._check(len(whole) + len(part))
            body.hold(len(part))
            whole += part
            if not message.get("more_body"):
                return whole
            message = await receive()

    def _check(self, count: int) -> None:
        if count > self._max_bytes:
            raise TooLargeError(f"the body has more than the {self._max_bytes} bytes taken")

    async def _inflate(self, data: bytes | bytearray, encoding: str, body: Body) -> bytes:
        window = _WINDOWS.get(encoding.lower())
        if window is None:
            raise InvalidRequestError(
                f"Content-Encoding {encoding!r:.60} is not known: gzip or deflate is expected"
            )
        if len(data) > _INFLATE_IN_A_THREAD:
            plain = await asyncio.to_thread(_inflate, data, window, self._max_bytes)
        else:
            plain = _inflate(data, window, self._max_bytes)
        body.hold(len(plain))
        return plain


class Body:
    """A body in memory, counted until it is released."""

    __slots__ = ("_all", "_held", "data")

    def __init__(self, held: HeldBytes) -> None:
        self._all = held
        self._held = 0
        self.data = memoryview(b"")

    def hold(self, count: int) -> None:
        """Count so many bytes more.

        Raises:
            ShedError: the worker holds as many as it may.
        """
        self._all.hold(count)
        self._held += count

    def release(self) -> None:
        """Stop counting it."""
        self._all.let_go(self._held)
        self._held = 0


def _inflate(data: bytes | bytearray, window: int, limit: int) -> bytes:
    stream = zlib.decompressobj(window)
    try:
        plain = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise InvalidRequestError(f"the compressed body is broken: {error}") from None
    if len(plain) > limit:
        raise TooLargeError(f"the body decompresses to more than the {limit} bytes taken")
    if not stream.eof or stream.unused_data:
        raise InvalidRequestError("the compressed body ends too early, or more follows its end")
    return plain


def worth_compressing(size: int) -> bool:
    """Whether a body of so many bytes may get smaller by more than its new header takes."""
    return size >= _WORTH_COMPRESSING


async def compress(body: bytes, accepted: str | None) -> tuple[bytes, bytes | None]:
    """The body as the client's Accept-Encoding allows, and the encoding if there is one."""
    if not accepted or not worth_compressing(len(body)):
        return body, None
    weights = _weights(accepted)
    encoding = max(_WINDOWS, key=lambda name: weights.get(name, weights.get("*", 0.0)))
    if not weights.get(encoding, weights.get("*", 0.0)) > 0:
        return body, None
    if len(body) > _DEFLATE_IN_A_THREAD:
        return await asyncio.to_thread(_deflate, body, _WINDOWS[encoding]), encoding.encode()
    return _deflate(body, _WINDOWS[encoding]), encoding.encode()


def _weights(accepted: str) -> dict[str, float]:
    """Accept-Encoding as RFC 9110, 12.5.3 has it: each encoding's weight, 0 for not at all."""
    weights = {}
    for offer in accepted.lower().split(","):
        name, _, weight = offer.replace(" ", "").replace("\t", "").partition(";")
        try:
            weights[name] = float(weight.removeprefix("q=")) if weight else 1.0
        except ValueError:
            weights[name] = 0.0
    return weights


def _deflate(body: bytes, window: int) -> bytes:
    stream = zlib.compressobj(level=1, wbits=window)
    return stream.compress(body) + stream.flush()
