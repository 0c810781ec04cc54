"""Good callers that go on while something bad happens, each on a connection of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from benchmarks.hostile.grpc_case import INFER
from benchmarks.hostile.grpc_exchange import GIVE_UP, channel, right
from benchmarks.hostile.grpc_messages import ROW, rows

STAYING = 3
"""Callers that keep their connection."""

COMING = 1
"""Callers that connect anew for each call."""

_PAUSE = 0.005  # a few good callers, not a load
_MESSAGE: bytes = rows().SerializeToString()


@dataclass(slots=True)
class Served:
    """What the good callers got."""

    seconds: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """In milliseconds; infinite where nobody was served."""
        ordered = sorted(self.seconds)
        if not ordered:
            return float("inf")
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000


@contextmanager
def calling(address: tuple[str, int]) -> Iterator[Served]:
    """Call, in a closed loop, until the block ends."""
    served = Served()
    done = threading.Event()
    threads = [
        threading.Thread(target=_call, args=(address, served, done, i < STAYING))
        for i in range(STAYING + COMING)
    ]
    for thread in threads:
        thread.start()
    try:
        yield served
    finally:
        done.set()
        for thread in threads:
            thread.join()


def _call(
    address: tuple[str, int],
    served: Served,
    done: threading.Event,
    stays: bool,  # noqa: FBT001 - a thread's arguments
) -> None:
    connected: Any = channel(address)
    while not done.wait(_PAUSE):
        begun = time.monotonic()
        try:
            data = connected.unary_unary(INFER)(_MESSAGE, timeout=GIVE_UP)
        except grpc.RpcError as error:
            served.lost.append(f"{error.code().name}: {error.details()}")
        else:
            served.seconds.append(time.monotonic() - begun)
            if not right(data, [ROW]):
                served.lost.append(f"a wrong answer: {data[:100]!r}")
        if not stays:
            connected.close()
            connected = channel(address)
    connected.close()
