"""Messages within a stream's content."""

from __future__ import annotations

import gzip
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequestError, LupineError, TooLargeError, UnsupportedError
from service.frontends import grpc_framing
from service.frontends.grpc_framing import Messages

LIMIT = 1000
MESSAGES = st.lists(st.tuples(st.booleans(), st.binary(max_size=50)), max_size=8)


def framed(compressed: bool, data: bytes) -> bytes:  # noqa: FBT001 - as the wire has it
    """A message with its prefix."""
    return grpc_framing.PREFIX.pack(compressed, len(data)) + data


@given(MESSAGES, st.lists(st.integers(0, 500), max_size=10))
def test_however_content_is_cut_its_messages_are_the_same(
    messages: list[tuple[bool, bytes]], cuts: list[int]
) -> None:
    """In their order, each once."""
    data = b"".join(framed(*message) for message in messages)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    cutter = Messages(LIMIT)
    found = [m for a, b in itertools.pairwise(edges) for m in cutter.feed(data[a:b])]
    assert found == messages
    assert not cutter.partial


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_random_content_is_messages_or_a_refusal(chunks: list[bytes]) -> None:
    """Nothing else is raised."""
    cutter = Messages(LIMIT)
    try:
        for chunk in chunks:
            cutter.feed(chunk)
    except LupineError:
        return


def test_a_message_is_refused_by_what_it_says_of_itself() -> None:
    """Before it has come."""
    with pytest.raises(TooLargeError, match="it has 1001 bytes, at most 1000"):
        Messages(LIMIT).feed(grpc_framing.PREFIX.pack(0, LIMIT + 1))
    for flag in (2, 128, 255):
        with pytest.raises(InvalidRequestError, match=f"begins with the byte {flag}"):
            Messages(LIMIT).feed(bytes([flag, 0, 0, 0, 0]))


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_what_is_compressed_is_inflated_within_the_limit(
    encoding: str, compress: object
) -> None:
    """And ours is what others inflate."""
    assert callable(compress)
    fits = compress(bytes(LIMIT))
    assert await grpc_framing.inflate(fits, encoding, LIMIT) == bytes(LIMIT)
    with pytest.raises(TooLargeError):
        await grpc_framing.inflate(compress(bytes(LIMIT + 1)), encoding, LIMIT)
    with pytest.raises(TooLargeError):  # one that takes a thread
        await grpc_framing.inflate(compress(bytes(32 << 20)), encoding, LIMIT)
    for broken in (b"", fits[:-1], fits + b"x", b"\xff" * 50):
        with pytest.raises(InvalidRequestError):
            await grpc_framing.inflate(broken, encoding, LIMIT)
    for size in (10, 1 << 20):
        data = await grpc_framing.compressed(bytes(size), encoding)
        ((flag, ours),) = Messages(1 << 20).feed(data)
        assert flag
        assert await grpc_framing.inflate(ours, encoding, 1 << 20) == bytes(size)


async def test_an_encoding_that_is_not_offered_is_named() -> None:
    """And a compressed message of a call that names none is a mistake."""
    with pytest.raises(UnsupportedError, match="'br'"):
        await grpc_framing.inflate(b"x", "br", LIMIT)
    with pytest.raises(InvalidRequestError, match="does not say how"):
        await grpc_framing.inflate(b"x", "identity", LIMIT)
