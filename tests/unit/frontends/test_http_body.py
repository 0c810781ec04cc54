from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from service.errors import InvalidRequestError, LupineError, ShedError, TooLargeError
from service.frontends.held import HeldBytes
from service.frontends.http_body import Bodies, Body, ClientGoneError, compress

Receive = Callable[[], Awaitable[dict[str, Any]]]

GONE = {"type": "http.disconnect"}


def arriving(*parts: bytes | dict[str, Any]) -> Receive:
    """ASGI's receive, giving the parts of a body one by one."""
    messages = [
        part
        if isinstance(part, dict)
        else {"type": "http.request", "body": part, "more_body": i < len(parts) - 1}
        for i, part in enumerate(parts)
    ]

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return messages.pop(0)

    return receive


def bodies(limit: int = 1000, held: int = 10_000) -> Bodies:
    return Bodies(HeldBytes(held), max_bytes=limit)


async def read(
    *parts: bytes | dict[str, Any],
    declared: str | None = None,
    encoding: str | None = None,
    within: Bodies | None = None,
) -> Body:
    return await (within or bodies()).read(arriving(*parts), declared, encoding)


async def some_is_held(within: Bodies) -> None:
    while not within._held.count:  # noqa: ASYNC110 - a counter, which tells nobody when it moves
        await asyncio.sleep(0)


async def refusal(kind: type[LupineError], *parts: bytes, **more: Any) -> LupineError:
    within = more.setdefault("within", bodies())
    with pytest.raises(kind) as refused:
        await read(*parts, **more)
    assert within._held.count == 0
    return refused.value


# ------------------------------------------------------------------ plain


@pytest.mark.parametrize("parts", [[b"abcdef"], [b"abc", b"def"], [b"", b"abcdef", b""]])
async def test_a_body_is_whole_however_it_arrives(parts: list[bytes]) -> None:
    """In one piece or many."""
    assert bytes((await read(*parts)).data) == b"abcdef"


async def test_an_empty_body_is_empty() -> None:
    """Nothing is a body too."""
    assert bytes((await read(b"")).data) == b""


async def test_a_body_that_declares_too_much_is_refused_before_it_is_read() -> None:
    """With both numbers."""

    async def never() -> dict[str, Any]:
        raise AssertionError

    with pytest.raises(TooLargeError, match="has 1001 bytes, at most 1000 are taken"):
        await bodies().read(never, "1001", None)


@pytest.mark.parametrize("parts", [[b"x" * 1001], [b"x" * 500] * 3, [b"x" * 1000, b"x"]])
async def test_a_body_that_declares_nothing_is_bounded_all_the_same(parts: list[bytes]) -> None:
    """In one piece or many."""
    error = await refusal(TooLargeError, *parts)
    assert "more than the 1000 bytes" in error.message


async def test_a_body_may_be_as_large_as_the_limit() -> None:
    """To the byte."""
    assert len((await read(b"x" * 1000, declared="1000")).data) == 1000
    assert len((await read(b"x" * 500, b"x" * 500)).data) == 1000


@pytest.mark.parametrize(
    "parts",
    [[GONE], [{"type": "http.request", "body": b"abc", "more_body": True}, GONE]],
)
async def test_a_client_that_goes_away_is_nobody_to_answer(parts: list[dict[str, Any]]) -> None:
    """Before the body or in its middle."""
    within = bodies()
    with pytest.raises(ClientGoneError):
        await read(*parts, within=within)
    assert within._held.count == 0


# ------------------------------------------------------------------ what the worker holds


async def test_bodies_are_counted_until_they_are_released() -> None:
    """So that many small ones cannot do what one large one may not."""
    within = bodies(held=1500)
    first = await read(b"x" * 1000, within=within)
    with pytest.raises(ShedError) as refused:
        await read(b"x" * 300, b"x" * 300, within=within)
    assert refused.value.reason == "memory"
    assert refused.value.retry_after
    assert "at most 1500" in refused.value.message
    assert within._held.count == 1000
    first.release()
    first.release()
    assert within._held.count == 0
    assert len((await read(b"x" * 600, within=within)).data) == 600


async def test_what_a_body_inflates_to_is_counted_too() -> None:
    """As long as the body is held."""
    within = bodies()
    sent = gzip.compress(b"x" * 900)
    body = await read(sent, encoding="gzip", within=within)
    assert within._held.count == len(sent) + 900
    body.release()
    assert within._held.count == 0


async def test_a_body_that_is_cancelled_is_let_go() -> None:
    """Whoever stops waiting for the rest."""
    within = bodies()

    async def stuck() -> dict[str, Any]:
        if not within._held.count:
            return {"type": "http.request", "body": b"x" * 100, "more_body": True}
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.ensure_future(within.read(stuck, None, None))
    await some_is_held(within)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert within._held.count == 0


# ------------------------------------------------------------------ compressed


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("GZip", gzip.compress), ("deflate", zlib.compress),
     ("identity", bytes), ("Identity", bytes), ("", bytes)],
)  # fmt: skip
async def test_a_compressed_body_is_inflated(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """By its encoding's name in any case."""
    assert bytes((await read(pack(b"abc" * 100), encoding=encoding)).data) == b"abc" * 100


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x" * 1000])
async def test_an_encoding_that_is_not_known_is_refused_with_those_that_are(encoding: str) -> None:
    """By name."""
    error = await refusal(InvalidRequestError, b"abc", encoding=encoding)
    assert encoding[:50] in error.message
    assert "gzip or deflate" in error.message
    assert len(error.message) < 200


@pytest.mark.parametrize(
    "data",
    [b"", b"no gzip", gzip.compress(b"abc", mtime=0)[:-1], gzip.compress(b"abc", mtime=0) + b"more",
     gzip.compress(b"abc", mtime=0) * 2, zlib.compress(b"abc")],
)  # fmt: skip
async def test_a_compressed_body_that_is_broken_is_refused(data: bytes) -> None:
    """Cut short, followed by more, or something else altogether."""
    error = await refusal(InvalidRequestError, data, encoding="gzip")
    assert "compressed body" in error.message


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
@pytest.mark.parametrize("size", [1001, 10_000_000])
async def test_a_bomb_is_refused_without_being_inflated(
    encoding: str, pack: Callable[[bytes], bytes], size: int
) -> None:
    """However little of it arrives."""
    within = bodies(limit=50_000 if size > 50_000 else 1000)
    error = await refusal(TooLargeError, pack(b"\0" * size), encoding=encoding, within=within)
    assert "decompresses to more than" in error.message


async def test_a_body_may_inflate_to_the_limit() -> None:
    """To the byte."""
    body = await read(gzip.compress(b"x" * 1000), encoding="gzip")
    assert len(body.data) == 1000


async def test_inflating_much_does_not_hold_up_the_others() -> None:
    """64 MiB out of 64 KB: the loop turns meanwhile."""
    within = Bodies(HeldBytes(1 << 30), max_bytes=64 << 20)
    packed = gzip.compress(bytes(64 << 20), 9)
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    watching = asyncio.ensure_future(watch())
    reading = asyncio.ensure_future(read(packed, encoding="gzip", within=within))
    await some_is_held(within)
    before = turns
    assert len((await reading).data) == 64 << 20
    assert turns - before > 10
    watching.cancel()


# ------------------------------------------------------------------ answers

LONG = b"lupine " * 1000


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", b"gzip"),
        ("deflate", b"deflate"),
        ("gzip, deflate, br", b"gzip"),
        ("deflate, gzip", b"gzip"),
        ("GZIP", b"gzip"),
        ("gzip;q=0.5, deflate;q=0.8", b"deflate"),
        ("gzip; q=0.5", b"gzip"),
        ("gzip ;\tq=1.000", b"gzip"),
        ("gzip;Q=1", b"gzip"),
        ("*", b"gzip"),
        ("gzip;q=0, *", b"deflate"),
        ("gzip;q=0, deflate", b"deflate"),
        ("gzip;q=0", None),
        ("gzip;q=0.0", None),
        ("gzip;q=0.000", None),
        ("gzip; q=0", None),
        ("*;q=0", None),
        ("gzip;q=soon", None),
        ("gzip;q=nan", None),
        ("gzip;q=-1", None),
        ("br", None),
        ("identity", None),
        ("", None),
        (",;,", None),
        (None, None),
    ],
)
async def test_an_answer_is_compressed_as_the_client_allows(
    accepted: str | None, encoding: bytes | None
) -> None:
    """By the weights of RFC 9110, where 0 is not at all."""
    body, chosen = await compress(LONG, accepted)
    assert chosen == encoding
    if chosen == b"gzip":
        body = gzip.decompress(body)
    elif chosen == b"deflate":
        body = zlib.decompress(body)
    assert body == LONG


async def test_a_short_answer_is_not_worth_compressing() -> None:
    """It would hardly shrink."""
    assert await compress(b"short", "gzip") == (b"short", None)


async def test_a_long_answer_is_compressed_as_well() -> None:
    """Beside the loop."""
    body, chosen = await compress(LONG * 100, "gzip")
    assert chosen == b"gzip"
    assert gzip.decompress(body) == LONG * 100
