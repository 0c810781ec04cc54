"""What a run measured, and how it lies on disk: all that the verdict and the report know of it.

A folder holds a `run-<n>` for each repetition; in it a `histogram_log` per target, and `run.json`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import histogram_log
from benchmarks.series import LATENCY, Counts, Samples, Series
from benchmarks.sla import slug

NO_CONNECTION_FREE = "no connection was free"
"""The failure of a request that waited for a connection until the end."""

BASELINE = "baseline"
"""Folder in a report's that holds the raw data of what it was compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRun:
    """One target in one repetition.

    Args:
        name: the target's.
        series: by tag, all over the same seconds S.
        failed: shape (S,): requests of each second that got no right answer, whatever the reason.
        failures: why, and how many of each.
        examples: a few texts of failures, as the client saw them.
        unsent: requests that were due and never sent.
        server: the gateway's own histogram of this model and wire over the measured time:
            bucket edge in seconds to cumulative count; empty where it shows none.
        server_batches: the same of rows in a batch.
        server_queue: the same of seconds in the queue.
    """

    name: str
    series: Mapping[str, Series]
    failed: Counts
    failures: Mapping[str, int]
    examples: Sequence[str]
    unsent: int
    server: Mapping[float, float]
    server_batches: Mapping[float, float]
    server_queue: Mapping[float, float]

    @property
    def asked(self) -> Counts:
        """Requests of each second, answered or not; shape (S,)."""
        return np.asarray(self.series[LATENCY].counts.sum(axis=1) + self.failed)


class Pulse(msgspec.Struct, frozen=True):
    """One second of one generator process, or of the host it runs on."""

    second: int  # since the measured time began; warm-up is negative
    worker: int
    cpu: float  # share of one core that the process used
    lag_ms: float  # the longest that its event loop was late
    gc_ms: float  # spent in garbage collection
    steal: float  # share of the host's time that went to other guests of its machine
    idle: float  # share of the host's time that nobody used


class Run(msgspec.Struct, frozen=True):
    """One repetition, but for its histograms."""

    number: int
    seed: int
    began: str  # ISO 8601, UTC
    seconds: float  # measured, without warm-up
    workers: int  # generator processes
    complete: bool  # False: it ended early, `problem` says why
    problem: str
    pulses: tuple[Pulse, ...]
    connect_ms: tuple[float, ...]  # what each connection took to make
    targets: dict[str, TargetTotals]


class TargetTotals(msgspec.Struct, frozen=True):
    """Of one target in one repetition, what no histogram holds."""

    failed: tuple[int, ...]  # in each second
    failures: dict[str, int]
    examples: tuple[str, ...]
    unsent: int
    server: dict[str, float]
    server_batches: dict[str, float]
    server_queue: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """One repetition, whole."""

    run: Run
    targets: Mapping[str, TargetRun]


def write(folder: Path, run: Run, samples: Mapping[str, Mapping[str, Samples]]) -> Path:
    """Write a repetition.

    Args:
        folder: of all repetitions.
        run: everything but the histograms.
        samples: by target and tag.

    Returns:
        The folder of this repetition.
    """
    into = folder / f"run-{run.number}"
    into.mkdir(parents=True, exist_ok=True)
    for name, totals in run.targets.items():
        log = into / f"{slug(name)}.hlog"
        histogram_log.write(log, name, samples[name], len(totals.failed))
    (into / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    return into


def read(folder: Path) -> list[Repetition]:
    """All repetitions of a folder, in order.

    Raises:
        FileNotFoundError: there is none.
        msgspec.ValidationError: a `run.json` is none.
        ValueError: a histogram cannot be read.
    """
    found = sorted(folder.glob("run-*"), key=lambda path: int(path.name.partition("-")[2]))
    if not found:
        raise FileNotFoundError(f"{folder} holds no run-1")
    return [_repetition(path) for path in found]


def baseline(folder: Path) -> list[Repetition]:
    """What a report was compared with; empty where it was with nothing.

    Args:
        folder: of the report.

    Raises:
        FileNotFoundError, msgspec.ValidationError, ValueError: as `read`.
    """
    within = folder / BASELINE
    return read(within) if within.is_dir() else []


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every raw file of a report, by its path in the folder."""
    raw = sorted(path for path in folder.rglob("run-*/*") if path.suffix in (".hlog", ".json"))
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in raw
    }


def _repetition(folder: Path) -> Repetition:
    run = msgspec.json.decode((folder / "run.json").read_bytes(), type=Run)
    targets = {}
    for name, totals in run.targets.items():
        targets[name] = TargetRun(
            name=name,
            series=histogram_log.read(folder / f"{slug(name)}.hlog", len(totals.failed)),
            failed=np.array(totals.failed, np.int64),
            failures=totals.failures,
            examples=totals.examples,
            unsent=totals.unsent,
            server=_edges(totals.server),
            server_batches=_edges(totals.server_batches),
            server_queue=_edges(totals.server_queue),
        )
    return Repetition(run=run, targets=targets)


def _edges(named: Mapping[str, float]) -> dict[float, float]:
    return {float(edge): count for edge, count in named.items()}
