"""Derives a report's verdict again, from its raw histograms alone."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks import result, verdict
from benchmarks.report import document as documents
from benchmarks.run import BenchError
from benchmarks.verdict import Verdict


def verify(folder: Path) -> Verdict:
    """The verdict that the raw data of a report give.

    Raises:
        BenchError: the folder is no report, a raw file is not the one that was reported on, or the
            verdict that it gives is not the one of the report.
    """
    try:
        told = documents.read(folder)
        _check(folder, told.raw)
        repetitions = result.read(folder)
        baseline = result.baseline(folder)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise BenchError(f"{folder} is no report that can be verified: {error}") from None
    found = verdict.judge(told.sla, repetitions, baseline)
    if msgspec.to_builtins(found) != msgspec.to_builtins(told.verdict):
        raise BenchError(
            f"{folder}: the raw data give {found.outcome} ({found.summary}), "
            f"the report says {told.verdict.outcome} ({told.verdict.summary})"
        )
    return found


def _check(folder: Path, told: dict[str, str]) -> None:
    here = result.digests(folder)
    for name in sorted(here.keys() | told.keys()):
        if name not in here:
            raise ValueError(f"the raw file {name} is missing")
        if name not in told:
            raise ValueError(f"the report knows nothing of the raw file {name}")
        if here[name] != told[name]:
            raise ValueError(f"the raw file {name} is not the one that was reported on")
