"""Calls whose HTTP/2 headers are wrong, or whose messages are framed or compressed wrongly."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator

from grpc import StatusCode

from benchmarks.hostile.grpc_case import (
    INFER,
    LATE,
    MALFORMED,
    NOT_OFFERED,
    OVER_LIMIT,
    STREAM,
    Framed,
)
from benchmarks.hostile.grpc_messages import rows, slow

Headers = tuple[tuple[bytes, bytes], ...]

_MIB = 1 << 20
HEADERS: Headers = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", INFER.encode()),
    (b":authority", b"gateway"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
)

# What is wrong below the message is for gRPC's own core to answer, and INTERNAL is its word.
_CORE = (MALFORMED, StatusCode.INTERNAL, NOT_OFFERED)


def cases(max_message: int) -> Iterator[Framed]:
    """All of them.

    Args:
        max_message: bytes of a message that the gateway takes.
    """
    yield from _frames(max_message)
    yield from _compressed(max_message)
    yield from _headers()
    yield from _metadata()
    yield from _timeouts()


def frame(message: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """A message as gRPC frames it, or with another flag or length before it."""
    size = len(message) if length is None else length
    return bytes([flag]) + size.to_bytes(4, "big") + message


def good() -> bytes:
    """The message that all of these spoil."""
    data: bytes = rows().SerializeToString()
    return data


def _changed(**changes: bytes | None) -> Headers:
    """The good headers with some values replaced, dropped (None) or added."""
    wanted = {name.replace("_", "-").encode(): value for name, value in changes.items()}
    wanted = {(b":" + n if b":" + n in dict(HEADERS) else n): v for n, v in wanted.items()}
    found = [(n, wanted.pop(n, v)) for n, v in HEADERS]
    return tuple((n, v) for n, v in (*found, *wanted.items()) if v is not None)


def _framed(
    category: str,
    name: str,
    body: bytes | Callable[[], bytes],
    *expected: StatusCode,
    headers: Headers = HEADERS,
    may_close: bool = False,
    may_hang: bool = False,
    wordless: bool = False,
    ends: bool = True,
) -> Framed:
    return Framed(
        category=category,
        name=name,
        headers=headers,
        body=body if callable(body) else lambda: body,
        expected=frozenset(expected or (MALFORMED,)),
        may_close=may_close,
        may_hang=may_hang,
        wordless=wordless,
        ends=ends,
    )


def _frames(max_message: int) -> Iterator[Framed]:
    whole = good()
    # What never came whole, gRPC's core does not show the gateway: a unary call gets an empty
    # message or waits on, and a stream ends there, without an error.
    once, stream = (*_CORE, StatusCode.NOT_FOUND), (*_CORE, StatusCode.OK)
    for path, wanted in ((INFER, once), (STREAM, stream)):
        headers = _changed(path=path.encode())
        rpc = path.rpartition("/")[2]
        for name, body in {
            "no message": b"",
            "half a prefix": b"\0\0\0",
            "a prefix and no message": frame(b"", length=len(whole)),
            "half a message": frame(whole[:20], length=len(whole)),
            "a length one too long": frame(whole, length=len(whole) + 1),
        }.items():
            if path == STREAM and not body:
                continue  # an empty stream is a good one
            yield _framed(
                "framing",
                f"{rpc}: {name}",
                body,
                *wanted,
                headers=headers,
                may_close=True,
                may_hang=True,
            )
        for name, body in {
            "half a prefix after nothing": frame(b"") + b"\0\0",
            **{f"the flag {flag}": frame(whole, flag=flag) for flag in (2, 3, 128, 255)},
        }.items():
            text = f"{rpc}: {name}"
            yield _framed("framing", text, body, *wanted, headers=headers, may_close=True)
        for length in (max_message + 1, 2**31 - 1, 2**31, 2**32 - 1):
            body = frame(whole, length=length)
            name = f"{rpc}: announces {length} bytes"
            yield _framed("framing", name, body, OVER_LIMIT, headers=headers, ends=False)
    yield _framed("framing", "a length one too short", frame(whole, length=len(whole) - 1))
    yield _framed("framing", "an empty message", frame(b""), MALFORMED, StatusCode.NOT_FOUND)
    yield _framed("framing", "JSON without a frame", b'{"model_name": "rows"}', *once, OVER_LIMIT)


def _compressed(max_message: int) -> Iterator[Framed]:
    core = (*_CORE, StatusCode.NOT_FOUND)  # the message that is left is empty, and so is its name
    whole = good()

    def packed(encoding: bytes) -> Headers:
        return _changed(grpc_encoding=encoding)

    def bomb(window: int, times: int) -> Callable[[], bytes]:
        def made() -> bytes:
            stream = zlib.compressobj(9, wbits=window)
            blocks = times * max_message // _MIB + 1
            data = b"".join([stream.compress(bytes(_MIB)) for _ in range(blocks)]) + stream.flush()
            return frame(data, flag=1)

        return made

    for times in (1, 4):
        name = f"gzip bomb, {times} x the limit"
        yield _framed("compression", name, bomb(31, times), OVER_LIMIT, headers=packed(b"gzip"))
        name = f"deflate bomb, {times} x the limit"
        wanted = packed(b"deflate")
        yield _framed("compression", name, bomb(15, times), OVER_LIMIT, headers=wanted)
    for encoding in (b"snappy", b"br", b"zstd", b"GZIP", b"gzip, deflate", b"", b"x" * 1000):
        text = f"the encoding {encoding[:20].decode()!r}"
        body = frame(whole, flag=1)
        yield _framed("compression", text, body, *core, headers=packed(encoding), may_close=True)
    fits = gzip.compress(whole)
    for name, data, encoding in (
        ("the flag without an encoding", whole, b""),
        ("the flag and identity", whole, b"identity"),
        ("plain bytes as gzip", whole, b"gzip"),
        ("plain bytes as deflate", whole, b"deflate"),
        ("gzip as deflate", fits, b"deflate"),
        ("gzip cut short", fits[:-12], b"gzip"),
        ("gzip head alone", fits[:10], b"gzip"),
        ("a wrong checksum", fits[:-8] + bytes(8), b"gzip"),
        ("nothing as gzip", b"", b"gzip"),
        ("gzip in gzip", gzip.compress(fits), b"gzip"),
        ("noise as gzip", b"\xff" * 1000, b"gzip"),
    ):
        headers = packed(encoding) if encoding else HEADERS
        yield _framed("compression", name, frame(data, flag=1), *core, headers=headers)


def _headers() -> Iterator[Framed]:
    """What is no gRPC may be answered as HTTP, or by a reset."""
    body = frame(good())
    any_of = (*_ANYTHING, StatusCode.UNKNOWN)
    wrong: dict[str, Headers] = {
        "no method": _changed(method=None),
        "GET": _changed(method=b"GET"),
        "PUT": _changed(method=b"PUT"),
        "CONNECT": _changed(method=b"CONNECT"),
        "no path": _changed(path=None),
        "an empty path": _changed(path=b""),
        "a path without a slash": _changed(path=INFER[1:].encode()),
        "a path of a star": _changed(path=b"*"),
        "a path with a zero": _changed(path=INFER.encode() + b"\0"),
        "no scheme": _changed(scheme=None),
        "a scheme of nobody": _changed(scheme=b"gopher"),
        "no content type": _changed(content_type=None),
        "the content type of text": _changed(content_type=b"text/plain"),
        "the content type of JSON": _changed(content_type=b"application/json"),
        "the content type of gRPC-Web": _changed(content_type=b"application/grpc-web+proto"),
        "another te": _changed(te=b"gzip"),
        "two paths": (*HEADERS[:3], HEADERS[2], *HEADERS[3:]),
        "two methods": (HEADERS[0], *HEADERS),
        "a pseudo-header behind the others": (*HEADERS[1:], HEADERS[0]),
        "a pseudo-header of nobody": ((b":nobody", b"1"), *HEADERS),
        "a response's pseudo-header": ((b":status", b"200"), *HEADERS),
        "a name in upper case": (*HEADERS, (b"X-Upper", b"1")),
        "a name with a blank": (*HEADERS, (b"x y", b"1")),
        "a name with a line break": (*HEADERS, (b"x\r\ny", b"1")),
        "an empty name": (*HEADERS, (b"", b"1")),
        "a value with a zero": (*HEADERS, (b"x-a", b"a\0b")),
        "a value with a line break": (*HEADERS, (b"x-a", b"a\r\nb")),
        "a connection header": (*HEADERS, (b"connection", b"close")),
        "a transfer encoding": (*HEADERS, (b"transfer-encoding", b"chunked")),
        "nothing but a path": (HEADERS[2],),
    }
    # gRPC's core is lenient in these, and the call is a good one otherwise.
    tolerated = {"two paths", "two methods", "a response's pseudo-header"}
    tolerated |= {"a pseudo-header behind the others"}
    tolerated |= {"no scheme", "a scheme of nobody", "no content type", "another te"}
    tolerated |= {name for name in wrong if "content type" in name or " header" in name}
    tolerated |= {"a transfer encoding", "a value with a zero", "a value with a line break"}
    for name, headers in wrong.items():
        more = (StatusCode.OK,) if name in tolerated else ()
        yield _framed("headers", name, body, *any_of, *more, headers=headers, may_close=True)


_ANYTHING = (MALFORMED, StatusCode.INTERNAL, NOT_OFFERED, OVER_LIMIT)


def _metadata() -> Iterator[Framed]:
    body = frame(good())
    for name, more in {
        "one value of 20 kB": ((b"x-a", b"a" * 20_000),),
        "one value of 100 kB": ((b"x-a", b"a" * 100_000),),
        "one value of a megabyte": ((b"x-a", b"a" * _MIB),),
        "a name of 100 kB": ((b"x" * 100_000, b"a"),),
        "two thousand of them": tuple((f"x-{i}".encode(), b"a" * 30) for i in range(2000)),
        "the same one, ten thousand times": ((b"x-a", b"a" * 10),) * 10_000,
    }.items():
        # 16 KiB is gRPC's usual limit; the gateway may take more, but not without end.
        lenient = (StatusCode.OK,) if name == "one value of 20 kB" else ()
        wanted = (OVER_LIMIT, *lenient)
        headers = (*HEADERS, *more)
        # The core's reason lists all names: too long for its own limit where there are many.
        many = len(more) > 1
        yield _framed(
            "metadata", name, body, *wanted, headers=headers, may_close=True, wordless=many
        )
    for name, value in (("no base64", b"!!!"), ("half of base64", b"a"), ("raw bytes", b"\xff\0")):
        headers = (*HEADERS, (b"x-a-bin", value))
        wanted = (*_ANYTHING, StatusCode.OK)
        yield _framed("metadata", f"binary: {name}", body, *wanted, headers=headers, may_close=True)


def _timeouts() -> Iterator[Framed]:
    """Deadlines that the server alone can hold, for this client waits on."""
    late = frame(slow(100_000).SerializeToString())
    for text in (b"0n", b"1n", b"1u", b"1m", b"20m"):
        name = f"grpc-timeout is {text.decode()}"
        headers = _changed(grpc_timeout=text)
        yield _framed("timeouts", name, late, LATE, headers=headers, may_close=True)
    for text in (b"", b"abc", b"-1S", b"1", b"1x", b"1.5S", b"9" * 30 + b"S", b"1 S S"):
        name = f"grpc-timeout is {text[:10].decode()!r}"
        headers = _changed(grpc_timeout=text)
        # gRPC's core takes what it cannot read as no deadline.
        wanted = (*_ANYTHING, LATE, StatusCode.OK)
        body = frame(good())
        yield _framed("timeouts", name, body, *wanted, headers=headers, may_close=True)
