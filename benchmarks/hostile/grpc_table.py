"""The whole table of bad calls."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.hostile import grpc_fields, grpc_framing, grpc_methods, grpc_raw, grpc_tensors
from benchmarks.hostile.grpc_case import Case

LARGE = frozenset({"large messages", "compression"})
"""Categories whose cases take a multiple of the limit in memory."""


def cases(max_message: int) -> Iterator[Case]:
    """Every case, category by category.

    Args:
        max_message: bytes of a message that the gateway takes.
    """
    yield from grpc_fields.cases()
    yield from grpc_tensors.cases()
    yield from grpc_raw.cases(max_message)
    yield from grpc_methods.cases()
    yield from grpc_framing.cases(max_message)
