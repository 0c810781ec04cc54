"""HTTP itself abused: lengths, framing, heads, compression, and time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator

from benchmarks.hostile.case import HOST, INFER, Case, post, whole

_POST = f"POST {INFER} HTTP/1.1\r\n".encode() + HOST
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_SMUGGLED = b"GET /v2/health/live HTTP/1.1\r\nHost: gateway\r\n\r\n"
_MIB = 1 << 20


def cases(max_body: int) -> Iterator[Case]:
    """All of them.

    Args:
        max_body: bytes of a body that the gateway takes.
    """
    yield from _lengths(max_body)
    yield from _framing()
    yield from _heads()
    yield from _compressed(max_body)
    yield from _slow()


def _stream(
    category: str, name: str, pieces: Callable[[], Iterable[bytes]], *expected: int
) -> Case:
    return Case(category=category, name=name, pieces=pieces, expected=frozenset(expected))


def _lengths(max_body: int) -> Iterator[Case]:
    over = max_body + 1
    for size in (over, 2**31, 2**40, 2**63):
        head = _POST + f"Content-Length: {size}\r\n\r\n".encode()
        yield whole("oversize bodies", f"announces {size} bytes", head, 400, 413)

    def endless() -> Iterator[bytes]:
        yield _CHUNKED
        while True:
            yield b"10000\r\n" + bytes(65536) + b"\r\n"

    def announced() -> Iterator[bytes]:
        yield _POST + f"Content-Length: {over}\r\n\r\n".encode()
        for _ in range(over // _MIB + 1):
            yield bytes(_MIB)

    def tiny_chunks() -> Iterator[bytes]:
        yield _CHUNKED
        yield b"1\r\n{\r\n" * 50_000 + b"0\r\n\r\n"

    yield _stream("oversize bodies", "endless chunks", endless, 413)
    yield _stream("oversize bodies", "more than is taken, sent in full", announced, 413)
    yield _stream("oversize bodies", "fifty thousand chunks of a byte", tiny_chunks, 400)
    for value in (b"-1", b"+5", b"5, 5", b"5 5", b"0x5", b"5e0", b"abc", b"", b"9" * 40, b"\xb2"):
        data = _POST + b"Content-Length: " + value + b"\r\n\r\n{}"
        name = f"Content-Length is {value[:20].decode('latin-1')!r}"
        yield whole("lengths", name, data, 400, 413)
    yield whole("lengths", "no length at all", _POST + b"\r\n")
    yield whole("lengths", "HTTP/1.0 without a length", _POST.replace(b"1.1", b"1.0") + b"\r\n{}")
    for sent in (0, 1, 50):
        data = _POST + b"Content-Length: 100\r\n\r\n" + b"{" * sent
        yield whole(
            "lengths", f"{sent} of 100 bytes, then the end", data, may_close=True, half_close=True
        )
    cut = _CHUNKED + b"5\r\n{}"
    yield whole("lengths", "half a chunk, then the end", cut, may_close=True, half_close=True)


def _framing() -> Iterator[Case]:
    both = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _SMUGGLED
    chunked = b"0\r\n\r\n" + _SMUGGLED
    smuggling: dict[str, bytes] = {
        "CL and TE": both,
        "TE and CL": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunked,
        "two lengths": b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + _SMUGGLED,
        "the same length twice": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + _SMUGGLED,
        "TE xchunked": b"Transfer-Encoding: xchunked\r\n\r\n" + chunked,
        "TE chunked, identity": b"Transfer-Encoding: chunked, identity\r\n\r\n" + chunked,
        "TE identity and a length": b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}"
        + _SMUGGLED,
        "a blank before the colon": b"Transfer-Encoding : chunked\r\n\r\n" + chunked,
        "a folded TE": b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n" + chunked,
        "a NUL in TE": b"Transfer-Encoding: chunked\0\r\nContent-Length: 4\r\n\r\n" + chunked,
        "a bare CR in a header": b"X-A: b\rTransfer-Encoding: chunked\r\n\r\n" + chunked,
        "a vertical tab before TE": b"\x0bTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
        + chunked,
    }
    for name, rest in smuggling.items():
        yield whole("smuggling", name, _POST + rest)
    chunks: dict[str, bytes] = {
        "a negative size": b"-1\r\n",
        "a size of 80 bits": b"f" * 20 + b"\r\n",
        "a size that is none": b"zz\r\n",
        "a size with a sign": b"+2\r\n{}\r\n0\r\n\r\n",
        "a hexadecimal prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
        "a chunk longer than its size": b"1\r\n{}\r\n0\r\n\r\n",
        "no end of line behind a chunk": b"2\r\n{}0\r\n\r\n",
        "an extension of a megabyte": b"2;" + b"a" * _MIB + b"\r\n{}\r\n0\r\n\r\n",
        "a trailer of a megabyte": b"2\r\n{}\r\n0\r\nX-A: " + b"a" * _MIB + b"\r\n\r\n",
    }
    for name, rest in chunks.items():
        yield whole("chunks", name, _CHUNKED + rest, 400, 413, 431)


def _heads() -> Iterator[Case]:
    lines: dict[str, bytes] = {
        "HTTP/0.9": b"GET /v2\r\n",
        "HTTP/9.9": b"GET /v2 HTTP/9.9\r\nHost: gateway\r\n\r\n",
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        "binary": bytes(range(256)) * 4,
        "no target": b"GET HTTP/1.1\r\nHost: gateway\r\n\r\n",
        "a blank in the target": b"GET /v2/a b HTTP/1.1\r\nHost: gateway\r\n\r\n",
        "no version": b"GET /v2\r\nHost: gateway\r\n\r\n",
        "another protocol": b"GET /v2 ICY/1.0\r\nHost: gateway\r\n\r\n",
        "a header without a colon": b"GET /v2 HTTP/1.1\r\nHost gateway\r\n\r\n",
        "a header without a name": b"GET /v2 HTTP/1.1\r\n: gateway\r\n\r\n",
        "a blank in a header's name": b"GET /v2 HTTP/1.1\r\nX Y: z\r\n\r\n",
        "a NUL in a header": b"GET /v2 HTTP/1.1\r\nX: a\0b\r\n\r\n",
        "bytes in a header's name": b"GET /v2 HTTP/1.1\r\nX\xff: a\r\n\r\n",
        "a folded header": b"GET /v2 HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
    }
    for name, data in lines.items():
        # The parser takes some of these for the start of a longer head: then closing is all.
        yield whole("heads", name, data, may_close=True, half_close=True)
    start = b"GET /v2 HTTP/1.1\r\n" + HOST
    big: dict[str, bytes] = {
        "one header of 100 kB": start + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
        "one header of 10 MB": start + b"X-A: " + b"a" * 10_000_000 + b"\r\n\r\n",
        "a header's name of 100 kB": start + b"X" * 100_000 + b": a\r\n\r\n",
        "ten thousand headers": start + b"X-A: aaa\r\n" * 10_000 + b"\r\n",
        "a hundred thousand empty headers": start + b"X:\r\n" * 100_000 + b"\r\n",
        "a target of 100 kB": b"GET /v2/" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        "a query of 100 kB": b"GET /v2?" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        "cookies of 100 kB": start + b"Cookie: a=" + b"b" * 100_000 + b"\r\n\r\n",
    }
    for name, data in big.items():
        yield whole("huge heads", name, data, 400, 431)

    def endless() -> Iterator[bytes]:
        yield start
        while True:
            yield b"X-Flood: aaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 100

    yield _stream("huge heads", "endless headers", endless, 431)


def _compressed(max_body: int) -> Iterator[Case]:
    def packed(data: bytes, encoding: str) -> bytes:
        return post(INFER, data, {"Content-Encoding": encoding})

    def bomb(window: int, fill: bytes) -> bytes:
        stream = zlib.compressobj(9, wbits=window)
        blocks = 2 * max_body // _MIB + 1
        return b"".join([stream.compress(fill * _MIB) for _ in range(blocks)]) + stream.flush()

    yield whole("compression", "gzip bomb of zeros", packed(bomb(31, b"\0"), "gzip"), 413)
    yield whole("compression", "gzip bomb of brackets", packed(bomb(31, b"["), "gzip"), 413)
    yield whole("compression", "deflate bomb", packed(bomb(15, b" "), "deflate"), 413)
    fits = gzip.compress(b"{}")
    broken: dict[str, tuple[bytes, str]] = {
        "a bomb in a bomb": (gzip.compress(gzip.compress(bytes(10 * _MIB))), "gzip"),
        "plain bytes as gzip": (b"{}", "gzip"),
        "plain bytes as deflate": (b"{}", "deflate"),
        "gzip as deflate": (fits, "deflate"),
        "raw deflate": (zlib.compress(b"{}")[2:-4], "deflate"),
        "gzip cut short": (fits[:-5], "gzip"),
        "gzip head alone": (fits[:10], "gzip"),
        "a wrong checksum": (fits[:-8] + bytes(8), "gzip"),
        "something behind gzip": (fits + b"more", "gzip"),
        "two gzip members": (fits + fits, "gzip"),
        "nothing as gzip": (b"", "gzip"),
        "nothing, compressed": (gzip.compress(b""), "gzip"),
        "JSON cut short, compressed": (gzip.compress(b'{"inputs": ['), "gzip"),
    }
    for name, (data, encoding) in broken.items():
        yield whole("compression", name, packed(data, encoding))


def _slow() -> Iterator[Case]:
    def drip(data: bytes) -> Callable[[], Iterator[bytes]]:
        return lambda: (data[i : i + 1] for i in range(len(data)))

    slow_head = _POST + b"X-Slow: " + b"a" * 300 + b"\r\n\r\n"
    half_head = _POST + b"X-Half"
    half_body = _POST + b"Content-Length: 100\r\n\r\n{"
    half_chunk = _CHUNKED + b"5\r\n{"
    for name, pieces, pause in (
        ("a head, byte by byte", drip(slow_head), 0.05),
        ("half a head, then nothing", lambda: (half_head,), 0.0),
        ("half a body, then nothing", lambda: (half_body,), 0.0),
        ("half a chunk, then nothing", lambda: (half_chunk,), 0.0),
    ):
        yield Case(
            category="slow",
            name=name,
            pieces=pieces,
            expected=frozenset({408}),
            pause=pause,
            slow=True,
        )
