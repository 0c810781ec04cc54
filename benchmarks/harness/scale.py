"""Shorter runs, for trying a topic out: `EVIDENCE_SCALE=0.1 make evidence-<topic>`.

A record that was made so says it, in its table and in its raw figures.
"""

from __future__ import annotations

import math
import os

from benchmarks.harness.record import Evidence

VARIABLE = "EVIDENCE_SCALE"


def factor() -> float:
    """How much of the full run is asked for: 1 for all of it."""
    return float(os.environ.get(VARIABLE, "1"))


def times(full: int) -> int:
    """So many runs, scaled; at least one."""
    return max(1, math.ceil(full * factor()))


def seconds(full: float, least: float) -> float:
    """So much time, scaled; at least `least`."""
    return max(least, full * factor())


def tell(evidence: Evidence) -> None:
    """Say in the record that it is a trial, where it is one."""
    evidence.raw["scale"] = factor()
    if factor() < 1:
        evidence.add("A TRIAL, no evidence", f"{VARIABLE}={factor():g} of the full run")
