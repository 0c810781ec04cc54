"""How numbers, and texts of strangers, are written in a report."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from benchmarks.verdict import Claim

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENDLESS = "∞"


def printable(text: str) -> str:
    """A text without what neither XML nor HTML can hold: each such character becomes U+FFFD.

    Source: https://www.w3.org/TR/xml/#charsets.
    """
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def number(value: float | None) -> str:
    """Three significant digits, as the histograms have; thousands apart; None is infinite."""
    if value is None:
        return _ENDLESS
    if value == 0:
        return "0"
    rounded = round(value, _digits(value))
    decimals = _digits(rounded) if rounded else 0  # 9.999 is 10.0, not 10.00
    return grouped(f"{rounded:,.{min(max(decimals, 0), 6)}f}")


def _digits(value: float) -> int:
    """Decimal places that three significant digits take; below 0 left of the point."""
    return 2 - math.floor(math.log10(abs(value)))


def share(percent: float | None) -> str:
    """A percentage, so that what is nearly all never reads as all: 99.98, not 100."""
    if percent is None:
        return _ENDLESS
    rest = min(abs(percent), abs(100 - percent))
    if rest == 0:
        return f"{percent:g}"
    digits = min(max(2 - math.floor(math.log10(rest)), 0), 4)
    text = f"{percent:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def measure(value: float | None, unit: str) -> str:
    """A number of a claim, without its unit."""
    return share(value) if unit == "%" else number(value)


def relation(claim: Claim) -> str:
    """Whether a limit is the most or the least that was promised."""
    return "≥" if claim.name.startswith("goodput") else "≤"


def interval(claim: Claim) -> str:
    """A claim's confidence interval, without its unit."""
    bounds = (claim.low, claim.high)
    low, high = (None if bound is None else measure(bound, claim.unit) for bound in bounds)
    if low is not None and high is not None:
        return f"{low} to {high}"
    if low is not None:
        return f"{low} or more"
    return "none" if high is None else f"up to {high}"


def moment(text: str) -> str:
    """A moment in ISO 8601, for people; what is none stays as it is."""
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{told.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if told.tzinfo else text


def grouped(text: str) -> str:
    """Thousands parted by a narrow space, as SI does, rather than by a comma."""
    return text.replace(",", "\N{NARROW NO-BREAK SPACE}")


def count(value: float) -> str:
    """A whole number."""
    return grouped(f"{value:,.0f}")
