"""The whole table of bad requests."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.hostile import bodies, paths, transport
from benchmarks.hostile.case import Case


def cases(max_body: int) -> Iterator[Case]:
    """Every case, category by category.

    Args:
        max_body: bytes of a body that the gateway takes.
    """
    yield from bodies.cases()
    yield from paths.cases()
    yield from transport.cases(max_body)
