"""A request with its right answer, and what became of it: the same words for every wire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
PATIENCE = 60.0
"""Seconds after which a request without an answer hangs; longer than the gateway's own bounds."""


@dataclass(frozen=True, slots=True)
class Request:
    """One inference request.

    Args:
        id: that the answer must bear.
        model: that is asked.
        inputs: by name.
        expected: what must be answered, by name.
        parameters: the protocol's.
        tolerance: by which real numbers may be off: batching changes low bits.
    """

    id: str
    model: str
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]
    parameters: Mapping[str, str | bool | int | float] = field(default_factory=dict)
    tolerance: float = 1e-4


@dataclass(frozen=True, slots=True)
class Response:
    """What a gateway answered."""

    id: str
    outputs: Mapping[str, Array]


class Fate(StrEnum):
    """How far a request got."""

    ANSWERED = "answered"  # with outputs; whether they are the right ones is judged apart
    REFUSED = "refused"  # in words: 503 with Retry-After, UNAVAILABLE that tells of a shutdown
    UNSENT = "unsent"  # there was no connection to send it on
    UNPROCESSED = "unprocessed"  # a GOAWAY told that the stream was not and will not be looked at
    FAILED = "failed"  # any other status
    LOST = "lost"  # sent on an established connection, and no answer came


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.

    Args:
        fate: how far it got.
        kind: the wire's word for it: "200", "503", "OK", "UNAVAILABLE", "connection refused" …
        text: all that the client was told, for the record; empty for an answer.
        response: of an answered one.
    """

    fate: Fate
    kind: str
    text: str = ""
    response: Response | None = None


class Tally:
    """Counts fates, and every distinct text behind them, so that nothing is hidden."""

    def __init__(self) -> None:
        self.fates: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def add(self, wire: str, request: Request, outcome: Outcome) -> None:
        """Count one, and judge it if it was answered."""
        self.fates[outcome.fate] += 1
        if outcome.text:
            self.texts[f"{wire}, {outcome.fate}: {outcome.text}"] += 1
        if outcome.response is not None and (what := fault(request, outcome.response)):
            self.wrong.append(f"{wire}: {what}")

    @property
    def accepted(self) -> int:
        """Requests that got onto an established connection and were not refused there."""
        return sum(self.fates[fate] for fate in (Fate.ANSWERED, Fate.FAILED, Fate.LOST))


def fault(request: Request, response: Response) -> str:
    """What is wrong with an answer; empty where it is the right one."""
    where = f"{request.model}, request {request.id}"
    if response.id != request.id:
        return f"{where}: answered with the id {response.id!r}"
    if response.outputs.keys() != request.expected.keys():
        return f"{where}: outputs {sorted(response.outputs)}, not {sorted(request.expected)}"
    for name, right in request.expected.items():
        got = response.outputs[name]
        if got.shape != right.shape:
            return f"{where}: {name} has shape {got.shape}, not {right.shape}"
        if right.dtype.kind == "f":
            off = float(np.abs(got - right).max(initial=0.0))
            if not off <= request.tolerance:  # NaN too is wrong
                return f"{where}: {name} is off by {off:.3g}"
        elif not np.array_equal(got, right):
            return f"{where}: {name} differs in {int((got != right).sum())} of {right.size} places"
    return ""
