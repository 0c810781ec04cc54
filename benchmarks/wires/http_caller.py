"""HTTP/1.1 by hand: a keep-alive connection that can tell how far a request got.

Client libraries hide the difference between a connection that was refused, one that was closed
while nothing was asked, and one that took a request and gave no answer. Here it is the result.
"""

from __future__ import annotations

import asyncio
import select
from contextlib import suppress

import msgspec

from benchmarks.wires import oip_http
from benchmarks.wires.exchange import PATIENCE, Fate, Outcome, Request

_MAX_HEAD = 1 << 16


class HttpCaller:
    """One connection to a gateway, opened when it is needed and again after it was closed.

    Args:
        port: where the gateway listens, on loopback.
        binary: the binary tensor extension instead of JSON.
    """

    def __init__(self, port: int, *, binary: bool = False) -> None:
        self._port = port
        self._binary = binary
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._uses = 0

    async def ask(self, request: Request) -> Outcome:
        """Send one request, once, and say what became of it."""
        return await self.send(oip_http.encode(request, binary=self._binary))

    async def send(self, octets: bytes) -> Outcome:
        """Send a whole HTTP request, once, and say what became of it."""
        try:
            async with asyncio.timeout(PATIENCE):
                if (unsent := await self._connected()) is not None:
                    return unsent
                return await self._exchange(octets)
        except TimeoutError:
            self.close()
            return Outcome(Fate.LOST, "hung", f"no answer within {PATIENCE:g} s")

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _connected(self) -> Outcome | None:
        if self._reader is not None and self._writer is not None:
            if not self._is_closed(self._reader, self._writer):
                return None
            self.close()
        try:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self._port, limit=_MAX_HEAD
            )
        except ConnectionRefusedError:
            return Outcome(Fate.UNSENT, "connection refused", "connection refused")
        except OSError as error:
            return Outcome(Fate.UNSENT, "no connection", f"connect: {type(error).__name__}")
        self._uses = 0
        return None

    @staticmethod
    def _is_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the server has closed it, as urllib3 and httpcore look before they use it again.

        The kernel is asked too: asyncio may not have read the end yet.
        """
        if reader.at_eof() or writer.is_closing():
            return True
        poll = select.poll()
        poll.register(writer.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def _exchange(self, octets: bytes) -> Outcome:
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            raise RuntimeError("an exchange needs a connection")
        self._uses += 1
        partial = b""
        try:
            writer.write(octets)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            line, *fields = head.decode("latin-1").rstrip().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (f.partition(":") for f in fields)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        except asyncio.IncompleteReadError as error:
            partial = error.partial
            how = "closed"
        except ConnectionError as error:
            how = type(error).__name__
        else:
            if headers.get("connection", "").lower() == "close":
                self.close()
            return _outcome(int(line.split()[1]), headers, body)
        self.close()
        use = "first" if self._uses == 1 else "later"
        where = "within the answer" if partial else "before the answer"
        return Outcome(Fate.LOST, "lost", f"{how} {where}, to a {use} request of its connection")


def _outcome(status: int, headers: dict[str, str], body: bytes) -> Outcome:
    if status == 200:
        with suppress(ValueError, KeyError):
            return Outcome(Fate.ANSWERED, "200", response=oip_http.decode(headers, body))
        return Outcome(Fate.FAILED, "200", f"200 with {body[:200]!r}")
    text = body[:300].decode(errors="replace")
    with suppress(ValueError, KeyError, TypeError):
        text = msgspec.json.decode(body)["error"]
    refused = status == 503 and "retry-after" in headers
    return Outcome(Fate.REFUSED if refused else Fate.FAILED, str(status), f"{status}: {text}")
