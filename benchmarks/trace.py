"""Recorded arrivals: a file with one time a line."""

from __future__ import annotations

from pathlib import Path

from benchmarks.sla import SlaError, Target, trace_path


def of(target: Target, path: Path) -> list[float]:
    """The recorded arrivals of a target, in seconds; empty where its process is no trace.

    Args:
        target: of the SLA.
        path: of the SLA file.

    Raises:
        SlaError: the file is no trace.
    """
    file = trace_path(target, path)
    return [] if file is None else read(file)


def read(path: Path) -> list[float]:
    """Recorded arrival times: one in each line, seconds, ascending; `#` begins a comment.

    Raises:
        SlaError: a line is no time, or earlier than the one before it; or there are fewer than two.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SlaError(f"{path}: {error}") from None
    found: list[float] = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            at = float(text)
        except ValueError:
            raise SlaError(f"{path}:{number}: {text!r:.60} is no time in seconds") from None
        if not 0 <= at < float("inf") or (found and at < found[-1]):
            raise SlaError(f"{path}:{number}: times are finite, not negative, and ascend")
        found.append(at)
    if len(found) < 2 or found[-1] <= found[0]:
        raise SlaError(f"{path}: a trace needs two different times or more")
    return found
