"""A claim's interval against its limit, drawn in a row of the table: one scale for all claims."""

from __future__ import annotations

import math

import msgspec

from benchmarks.report.notation import relation
from benchmarks.verdict import Claim

WIDTH = 120
_MIDDLE = WIDTH / 2
_REACH = 56.0
_DOUBLINGS = 3.0  # from the limit to either end: an eighth of it, eight times it


class Gauge(msgspec.Struct, frozen=True):
    """Places on a line of WIDTH; the limit lies in the middle, what breaks it to the right.

    Args:
        low: where the interval begins.
        high: where it ends.
        measured: the estimate.
    """

    low: float
    high: float
    measured: float


def gauge(claim: Claim) -> Gauge | None:
    """Where a claim's interval lies; None where the limit leaves no room to be compared with."""
    least = relation(claim) == "≥"

    def place(value: float | None) -> float:
        if value is None:
            return _MIDDLE + _REACH
        ratio = (100 - value) / (100 - claim.limit) if least else value / claim.limit
        if ratio <= 0:
            return _MIDDLE - _REACH
        return _MIDDLE + _REACH * max(min(math.log2(ratio) / _DOUBLINGS, 1.0), -1.0)

    if claim.limit <= 0 or (least and claim.limit >= 100):
        return None
    better, worse = (claim.high, claim.low) if least else (claim.low, claim.high)
    best = _MIDDLE - _REACH if better is None else place(better)
    middle = place(0.0 if least and claim.measured is None else claim.measured)
    return Gauge(low=round(best, 1), high=round(place(worse), 1), measured=round(middle, 1))
