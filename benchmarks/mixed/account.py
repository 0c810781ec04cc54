"""What became of every request of a mix while processes were killed: none goes unexplained."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from benchmarks.wires.exchange import Fate, Outcome, Request, fault

_REFUSALS = frozenset({"429", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
# A stream has a text for each request, and no status; over gRPC a reason may quote how Triton's
# connection ended, in words that could be of our own.
_REASON = re.compile(r"Triton is not (running|available)|is not loaded|is busy: |retry later")
_TELL_BY_TEXT = frozenset({"error_message", "UNAVAILABLE"})


class End(StrEnum):
    """How a request ended for whoever asked."""

    RIGHT = "right"
    WRONG = "wrong"  # another's id, or other values
    REFUSED = "refused"  # with a reason, and over HTTP with when to come again
    CUT_OFF = "cut off"  # its connection ended
    HUNG = "hung"
    FAILED = "failed"  # any other answer


@dataclass(frozen=True, slots=True)
class Entry:
    """One request: seconds of `time.monotonic()`, and how it ended."""

    asked: float
    ended: float
    model: str
    end: End


@dataclass(slots=True)
class Account:
    """All requests, and those that should not have ended as they did.

    Args:
        entries: in the order in which they ended.
        faults: what was wrong with those that no killed process excuses.
    """

    entries: list[Entry] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(
        self, asked: float, ended: float, request: Request, outcome: Outcome, *, excused: bool
    ) -> None:
        """One has ended; `excused` says whether connections may just have been cut off."""
        end = how(request, outcome)
        self.entries.append(Entry(asked, ended, request.model, end))
        if end in {End.RIGHT, End.REFUSED} or (end is End.CUT_OFF and excused):
            return
        what = outcome.text or (fault(request, outcome.response) if outcome.response else "")
        self.faults.append(f"{end}: {request.model}, request {request.id}: {what}")

    def ends(self) -> Counter[tuple[str, End]]:
        """How many requests of each model ended how."""
        return Counter((entry.model, entry.end) for entry in self.entries)

    def without_right(self, begin: float, end: float) -> float:
        """The most seconds between two right answers in this time; its ends count as one."""
        right = sorted(
            entry.ended
            for entry in self.entries
            if entry.end is End.RIGHT and begin <= entry.ended <= end
        )
        times = [begin, *right, end]
        return max(later - earlier for earlier, later in pairwise(times))

    def back(self, models: Sequence[str], since: float) -> float:
        """Seconds until each of the models had answered a request that was asked since then.

        Infinite if one never did.
        """
        first: dict[str, float] = {}
        for entry in self.entries:
            if entry.end is End.RIGHT and entry.asked >= since:
                first.setdefault(entry.model, entry.ended)
        return max(first.get(model, float("inf")) for model in models) - since


def how(request: Request, outcome: Outcome) -> End:
    """The end of a request."""
    if outcome.response is not None:
        return End.WRONG if fault(request, outcome.response) else End.RIGHT
    if outcome.kind == "hung":
        return End.HUNG
    if outcome.kind in _TELL_BY_TEXT and _REASON.search(outcome.text):
        return End.REFUSED
    if outcome.fate in {Fate.LOST, Fate.UNSENT, Fate.UNPROCESSED}:
        return End.CUT_OFF
    if outcome.fate is Fate.REFUSED or outcome.kind in _REFUSALS:
        return End.REFUSED
    return End.FAILED
