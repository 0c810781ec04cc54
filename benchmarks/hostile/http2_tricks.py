"""Attacks by patience, by malformed frames, and by what is no HTTP/2 at all."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from benchmarks.hostile.grpc_framing import HEADERS, frame, good
from benchmarks.hostile.http2_floods import FLOODS, STREAM_BLOCK, Address, Attack, joined
from benchmarks.hostile.http2_wire import PREFACE, Seen, Wire, block, body, head

_BLOCK = block(HEADERS)
_MESSAGE = frame(good())
_TLS = bytes.fromhex("16030100a5010000a10303") + bytes(range(160))
_INITIAL_WINDOW = 4  # SETTINGS_INITIAL_WINDOW_SIZE
_MAX_FRAME = 5  # SETTINGS_MAX_FRAME_SIZE


@dataclass(frozen=True, slots=True)
class Trick:
    """One way to misuse HTTP/2, and what the server must do beside serving others.

    Args:
        attack: goes on until a moment.
        target: what must come of it, in words; empty: nothing but that others are served.
        holds: whether it came.
    """

    attack: Attack
    target: str = ""
    holds: Callable[[Seen], bool] = lambda _: True


def _crowd(
    count: int,
    each: Callable[[Wire, float], Awaitable[None]],
    *,
    preface: bool = True,
    deaf: bool = False,
) -> Attack:
    """So many connections at once, each doing the same."""

    async def attack(address: Address, seen: Seen, until: float) -> None:
        async def one() -> None:
            with contextlib.suppress(OSError):
                wire = await Wire.open(address, seen, preface=preface, deaf=deaf)
                try:
                    await each(wire, until)
                finally:
                    await wire.close()

        await asyncio.gather(*(one() for _ in range(count)))

    return attack


async def _hold(wire: Wire, until: float) -> None:
    await wire.hold(until)


def _then_hold(data: bytes) -> Callable[[Wire, float], Awaitable[None]]:
    async def each(wire: Wire, until: float) -> None:
        await wire.send(data)
        await wire.hold(until)

    return each


async def _drip(wire: Wire, until: float) -> None:
    """The preface, and SETTINGS, byte by byte."""
    for octet in PREFACE + SettingsFrame(0).serialize():
        await wire.send(bytes([octet]))
        await asyncio.sleep(0.2)
        if time.monotonic() > until:
            return


def _patient(frames: Iterable[Frame]) -> Callable[[Wire, float], Awaitable[None]]:
    return _then_hold(joined(*frames))


async def _too_many_pings(wire: Wire, until: float) -> None:
    while time.monotonic() < until:
        await wire.send(PingFrame(0, b"pingpong"))
        await asyncio.sleep(0.05)


async def _never_reading(wire: Wire, until: float) -> None:
    """Whole calls whose answers nobody takes out of the socket."""
    await wire.send(SettingsFrame(0, settings={_INITIAL_WINDOW: 2**31 - 1}))
    await wire.send(WindowUpdateFrame(0, 2**30))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(until - time.monotonic(), 0.01)):
            for stream in itertools.count(1, 2):
                await wire.send(joined(head(stream, _BLOCK), body(stream, _MESSAGE)))
                await asyncio.sleep(0.02)
            await asyncio.sleep(until)


async def _no_window(wire: Wire, until: float) -> None:
    """Calls whose answers the window of 0 bytes holds back."""
    await wire.send(SettingsFrame(0, settings={_INITIAL_WINDOW: 0}))
    calls = (joined(head(s, _BLOCK), body(s, _MESSAGE)) for s in range(1, 201, 2))
    await wire.send(b"".join(calls))
    await wire.hold(until)


async def _churn(address: Address, seen: Seen, until: float) -> None:
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            wire = await Wire.open(address, seen)
            await wire.close()


def _beyond_window() -> bytes:
    piece = bytes(16_384)
    pieces = b"".join(body(1, piece, ends=False).serialize() for _ in range(1280))
    opening = body(1, b"\0" + (40 << 20).to_bytes(4, "big"), ends=False)
    return joined(head(1, _BLOCK), opening) + pieces


def _header(length: int, kind: int, flags: int, stream: int) -> bytes:
    """A frame's head, whatever it says."""
    return length.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")


_STREAM_MISUSE: dict[str, bytes] = {
    "an even stream": joined(head(2, _BLOCK, ends=True)),
    "HEADERS on stream 0": _header(len(_BLOCK), 1, 4, 0) + _BLOCK,
    "DATA on stream 0": _header(5, 0, 0, 0) + bytes(5),
    "DATA on an idle stream": joined(body(7, _MESSAGE)),
    "streams that go down": joined(head(9, _BLOCK, ends=True), head(3, _BLOCK, ends=True)),
    "the same stream again": joined(*(head(1, _BLOCK, ends=True) for _ in range(3))),
    "RST_STREAM of an idle stream": _header(4, 3, 0, 7) + bytes(4),
    "RST_STREAM on stream 0": _header(4, 3, 0, 0) + bytes(4),
    "SETTINGS on a stream": _header(0, 4, 0, 1),
    "PING on a stream": _header(8, 6, 0, 1) + bytes(8),
    "CONTINUATION of nothing": joined(ContinuationFrame(1, _BLOCK, flags=["END_HEADERS"])),
    "DATA amid a header block": joined(head(1, _BLOCK, whole=False), body(1, _MESSAGE)),
    "PUSH_PROMISE from a client": _header(4 + len(_BLOCK), 5, 4, 1)
    + (2).to_bytes(4, "big")
    + _BLOCK,
}
_BAD_FRAMES: dict[str, bytes] = {
    "a frame of 16 MiB": _header(2**24 - 1, 0, 0, 1) + bytes(1 << 20),
    "SETTINGS of 5 bytes": _header(5, 4, 0, 0) + bytes(5),
    "a PING of 7 bytes": _header(7, 6, 0, 0) + bytes(7),
    "a WINDOW_UPDATE of 3 bytes": _header(3, 8, 0, 0) + bytes(3),
    "a window beyond 31 bits": joined(WindowUpdateFrame(0, 2**31 - 1)) * 2,
    "an initial window beyond 31 bits": _header(6, 4, 0, 0) + b"\0\4" + b"\xff" * 4,
    "a largest frame of 0 bytes": joined(SettingsFrame(0, settings={_MAX_FRAME: 0})),
    "padding longer than its frame": _header(3, 0, 8, 1) + b"\xff\0\0",
    "header bytes that are no HPACK": joined(head(1, b"\xff" * 200)),
    "an index of nothing": joined(head(1, b"\xff\x80\x01")),
    "a header integer without end": joined(head(1, b"\x7f" + b"\xff" * 100)),
    "HPACK text that is no Huffman code": joined(head(1, b"\x00\x83\xff\xff\xff\x81a")),
}


def _one_after_another(misuses: Iterable[bytes]) -> Attack:
    """Each on a connection of its own, again and again."""
    cycle = itertools.cycle(list(misuses))

    async def attack(address: Address, seen: Seen, until: float) -> None:
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                wire = await Wire.open(address, seen)
                await wire.send(next(cycle))
                await wire.hold(min(until, time.monotonic() + 0.1))
                await wire.close()

    return attack


def _all_cut(seen: Seen) -> bool:
    return seen.closed == seen.connections > 0


def _calmed(seen: Seen) -> bool:
    return any("ENHANCE_YOUR_CALM" in text and "too_many_pings" in text for text in seen.goaways)


_CUT = "each connection is closed"


def _garbage(data: bytes) -> Trick:
    return Trick(_crowd(20, _then_hold(data), preface=False), _CUT, _all_cut)


TRICKS: dict[str, Trick] = {name: Trick(attack) for name, attack in FLOODS.items()} | {
    "keepalive pings too often": Trick(
        _crowd(5, _too_many_pings), "GOAWAY ENHANCE_YOUR_CALM too_many_pings", _calmed
    ),
    "a window of 0 bytes, 2,000 calls": Trick(_crowd(20, _no_window)),
    "answers that nobody reads": Trick(_crowd(4, _never_reading, deaf=True)),
    "2,000 calls without end on a connection": Trick(
        _crowd(1, _patient(head(s, _BLOCK) for s in range(1, 4001, 2)))
    ),
    "2,000 streams without a message": Trick(
        _crowd(20, _patient(head(s, STREAM_BLOCK) for s in range(1, 201, 2)))
    ),
    "2,000 half messages": Trick(
        _crowd(
            20,
            _patient(
                f
                for s in range(1, 201, 2)
                for f in (head(s, _BLOCK), body(s, _MESSAGE[:20], ends=False))
            ),
        )
    ),
    "1,000 idle connections": Trick(_crowd(1000, _hold)),
    "1,000 connections that say nothing": Trick(_crowd(1000, _hold, preface=False)),
    "200 connections of a preface alone": Trick(_crowd(200, _then_hold(PREFACE), preface=False)),
    "100 prefaces byte by byte": Trick(_crowd(100, _drip, preface=False)),
    "connections opened and cut": Trick(_churn),
    "data beyond the window": Trick(_crowd(2, _then_hold(_beyond_window()))),
    "stream misuse": Trick(_one_after_another(_STREAM_MISUSE.values())),
    "malformed frames": Trick(_one_after_another(_BAD_FRAMES.values())),
    "garbage instead of the preface": _garbage(os.urandom(4096)),
    "zeros instead of the preface": _garbage(bytes(4096)),
    "HTTP/1.1 on the gRPC port": _garbage(
        b"POST /v2/models/rows/infer HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n{}"
    ),
    "TLS on the gRPC port": _garbage(_TLS),
}
