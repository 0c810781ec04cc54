"""What a caller gets back, whatever the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

from benchmarks.load.recorder import RIGHT
from benchmarks.wires.exchange import Request, Response, fault
from benchmarks.workloads import Prepared

WRONG = "wrong answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's end.

    Args:
        begun: of `perf_counter`, when it was sent.
        seconds: from the send to the last byte of the answer, or until it was given up.
        fate: RIGHT, or the kind of failure.
        text: what the client was told.
    """

    begun: float
    seconds: float
    fate: str = RIGHT
    text: str = ""


class Wire(Protocol):
    """A caller over some wire."""

    def connect(self) -> float:
        """Make the connection; returns seconds."""

    def ask(self, prepared: Prepared, tolerance: float) -> Answer:
        """Send a request, wait for its answer, and judge it."""

    def close(self) -> None:
        """Let go of the connection."""


def failed(begun: float, fate: str, text: str) -> Answer:
    """A request that began at `begun` (of `perf_counter`) and has just failed."""
    return Answer(begun, perf_counter() - begun, fate, text)


def judged(
    begun: float,
    seconds: float,
    *,
    case: Request,
    identity: str,
    tolerance: float,
    decode: Callable[[], Response],
) -> Answer:
    """Hold an answer against the right one; its time has been taken before."""
    try:
        what = fault(replace(case, id=identity, tolerance=tolerance), decode())
    except Exception as error:  # noqa: BLE001 - bytes can upset a decoder in many ways; all are wrong
        what = f"it cannot be read: {type(error).__name__}: {error}"
    return Answer(begun, seconds, WRONG, what) if what else Answer(begun, seconds)
