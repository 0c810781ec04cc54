"""Raw samples of one generator process: every request, as it was, until it is sent on."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RIGHT = ""
"""The fate of a request that got its right answer; any other text says what went wrong."""

_ROW = struct.Struct("<HHdffff")
SAMPLE = np.dtype(
    [
        ("target", "<u2"),
        ("fate", "<u2"),
        ("intended", "<f8"),
        ("late", "<f4"),
        ("wait", "<f4"),
        ("service", "<f4"),
        ("latency", "<f4"),
    ]
)
"""Times in seconds; `intended` counts from the beginning of the measured time."""

_EXAMPLES = 3  # texts for each kind of failure
_LONGEST = 300  # characters of each
_LATEST = 16  # messages: what is shown while it runs is out of so many


@dataclass(slots=True)
class Timing:
    """What is known of one request, in seconds."""

    intended: float  # from the beginning of the measured time; the warm-up is negative
    late: float  # by the generator's own fault
    wait: float  # for a free connection
    service: float  # from the send to the answer, or to the end of waiting for one

    @property
    def latency(self) -> float:
        """From the intended send to the answer."""
        return self.wait + self.late + self.service


@dataclass(slots=True)
class Failures:
    """What went wrong, by target and kind: a few texts of each."""

    texts: dict[tuple[int, str], list[str]] = field(default_factory=dict)

    def add(self, target: int, kind: str, text: str) -> None:
        """Keep a text, while there are few like it."""
        kept = self.texts.setdefault((target, kind), [])
        cut = text[:_LONGEST]
        if len(kept) < _EXAMPLES and cut not in kept:
            kept.append(cut)


class Recorder:
    """Takes samples; gives them away as bytes."""

    def __init__(self) -> None:
        self._rows = bytearray()
        self._fates: dict[str, int] = {RIGHT: 0}
        self._failures = Failures()

    def add(self, target: int, timing: Timing, fate: str = RIGHT, text: str = "") -> None:
        """Record a request.

        Args:
            target: its place in the SLA.
            timing: of the request.
            fate: RIGHT, or the kind of its failure, one of few.
            text: what the client was told.
        """
        number = self._fates.setdefault(fate, len(self._fates))
        self._rows += _ROW.pack(
            target,
            number,
            timing.intended,
            timing.late,
            timing.wait,
            timing.service,
            timing.latency,
        )
        if fate != RIGHT:
            self._failures.add(target, fate, text)

    def take(self) -> dict[str, Any]:
        """All since the last call, for a message to another process."""
        rows, self._rows = bytes(self._rows), bytearray()
        failures, self._failures = self._failures, Failures()
        return {
            "rows": rows,
            "fates": list(self._fates),
            "texts": [[t, kind, texts] for (t, kind), texts in failures.texts.items()],
        }


class Samples:
    """The samples of all generator processes, put together.

    Args:
        targets: how many there are.
    """

    def __init__(self, targets: int) -> None:
        self._parts: list[np.ndarray[Any, Any]] = []
        self._fates: list[str] = [RIGHT]
        self.failures = Failures()
        self.asked = [0] * targets  # of each target, within the measured time
        self.failed = [0] * targets

    def put(self, message: Mapping[str, Any]) -> None:
        """Add what a `Recorder` gave away."""
        rows = np.frombuffer(message["rows"], SAMPLE).copy()
        for fate in message["fates"]:
            if fate not in self._fates:
                self._fates.append(fate)
        known = np.array([self._fates.index(fate) for fate in message["fates"]], np.uint16)
        rows["fate"] = known[rows["fate"]]
        self._parts.append(rows)
        self._count(rows)
        for target, kind, texts in message["texts"]:
            for text in texts:
                self.failures.add(int(target), kind, text)

    @property
    def fates(self) -> Sequence[str]:
        """What the numbers in `fate` stand for."""
        return self._fates

    def of(self, target: int, seconds: float) -> np.ndarray[Any, Any]:
        """The samples of a target whose intended send was within the measured time."""
        rows = self._all()
        within = (rows["intended"] >= 0) & (rows["intended"] < seconds)
        found: np.ndarray[Any, Any] = rows[(rows["target"] == target) & within]
        return found

    def lately(self, target: int, begin: float) -> np.ndarray[Any, Any]:
        """The samples of a target, out of the latest messages, intended at or after `begin`.

        For a display: looking through all of them again and again would make the generator late.
        """
        rows = np.concatenate([np.empty(0, SAMPLE), *self._parts[-_LATEST:]])
        found: np.ndarray[Any, Any] = rows[(rows["target"] == target) & (rows["intended"] >= begin)]
        return found

    def fate(self, number: int) -> str:
        """The text of a sample's `fate`."""
        return self._fates[number]

    def _count(self, rows: np.ndarray[Any, Any]) -> None:
        measured = rows[rows["intended"] >= 0]
        for target in range(len(self.asked)):
            fates = measured["fate"][measured["target"] == target]
            self.asked[target] += len(fates)
            self.failed[target] += int((fates != 0).sum())

    def _all(self) -> np.ndarray[Any, Any]:
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0] if self._parts else np.empty(0, SAMPLE)


def quantile(latencies: Iterable[float], p: float) -> float:
    """The p-quantile of a few latencies for a display; NaN where there are none."""
    ordered = sorted(latencies)
    return ordered[min(int(p * len(ordered)), len(ordered) - 1)] if ordered else float("nan")
