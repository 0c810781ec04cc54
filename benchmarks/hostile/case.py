"""One bad request: its bytes, and what the gateway may answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

MODEL = "rows"
"""Takes FP32 `x` [-1, 3] and gives it back as `y`, at most eight rows."""

INFER = f"/v2/models/{MODEL}/infer"
HOST = b"Host: gateway\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One bad request.

    Args:
        category: what kind of badness, a row of the table.
        name: which one.
        pieces: makes the bytes, as they are to be sent; lazily, for some never end.
        expected: statuses that are right.
        may_close: closing without an answer is right as well: HTTP offers no other way here.
        pause: seconds between the pieces.
        half_close: end our direction after the last piece.
        slow: it takes seconds by its nature.
    """

    category: str
    name: str
    pieces: Callable[[], Iterable[bytes]]
    expected: frozenset[int]
    may_close: bool = False
    pause: float = 0.0
    half_close: bool = False
    slow: bool = False


def post(
    path: str | bytes,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    method: bytes = b"POST",
) -> bytes:
    """A well-formed request around whatever body."""
    target = path if isinstance(path, bytes) else path.encode()
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in (headers or {}).items()]
    length = f"Content-Length: {len(body)}\r\n\r\n".encode()
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + b"".join(lines) + length + body


def whole(
    category: str,
    name: str,
    data: bytes,
    *expected: int,
    may_close: bool = False,
    half_close: bool = False,
) -> Case:
    """A case that is sent at once; 400 where no status is named."""
    return Case(
        category=category,
        name=name,
        pieces=lambda: (data,),
        expected=frozenset(expected or (400,)),
        may_close=may_close,
        half_close=half_close,
    )
