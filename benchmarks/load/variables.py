"""What the locustfile is told before it has a command line: environment variables.

Apart from `users`, because importing Locust monkey-patches the whole process.
"""

from __future__ import annotations

import os
from pathlib import Path

SLA_VARIABLE = "LUPINE_BENCH_SLA"
"""Path of the SLA file."""
QUICK_VARIABLE = "LUPINE_BENCH_QUICK"
"""Anything: one short repetition."""


def environment(sla: Path, *, quick: bool) -> dict[str, str]:
    """Ours for a process of Locust's, which is to read this SLA file and no other.

    Args:
        sla: path of the SLA file.
        quick: whether it is one short repetition.
    """
    found = os.environ | {SLA_VARIABLE: str(sla)}
    found.pop(QUICK_VARIABLE, None)
    return found | ({QUICK_VARIABLE: "1"} if quick else {})
