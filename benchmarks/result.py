"""What a run measured, and how it lies on disk: all that the verdict and the report know of it.

A folder holds a `run-<n>` for each repetition; in it an HdrHistogram log per target (format 1.3,
one line a second and tag, microseconds; any HdrHistogram tool reads it) and `run.json`.

Source: HdrHistogram's log format, https://github.com/HdrHistogram/HdrHistogram.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from hdrh.codec import HdrCookieException, HdrHistogramSettingsException, HdrLengthException
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from benchmarks.sla import slug

Counts = np.ndarray[Any, np.dtype[np.int64]]

DIGITS = 3
"""Significant digits of every histogram: values are right to one part in a thousand."""
LONGEST_US = 3_600_000_000

LATENCY = "latency"
"""From the intended send to the right answer: what is promised."""
SERVICE = "service"
"""From the send to the answer, right or not: what a closed loop would have shown."""
LATE = "late"
"""From the intended send to the send, as far as the generator itself is to blame."""
WAIT = "wait"
"""From the intended send until a connection was free, as far as slow answers are to blame."""
TAGS = (LATENCY, SERVICE, LATE, WAIT)


_BROKEN = (
    HdrCookieException,
    HdrHistogramSettingsException,
    HdrLengthException,
    zlib.error,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
)
"""What the library raises at a log that was altered."""

NO_CONNECTION_FREE = "no connection was free"
"""The failure of a request that waited for a connection until the end."""

BASELINE = "baseline"
"""Folder in a report's that holds the raw data of what it was compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Times of one kind, counted for each second of the intended send.

    Args:
        values: shape (V,), microseconds, ascending; the highest that falls into each bucket.
        counts: shape (S, V).
    """

    values: Counts
    counts: Counts

    @property
    def total(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    def over(self, limit_ms: float) -> Counts:
        """How many in each second were longer than a limit; shape (S,).

        A bucket that reaches over the limit counts as over it.
        """
        return np.asarray(self.counts[:, self.values > limit_ms * 1000].sum(axis=1))


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


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw times of one kind.

    Args:
        seconds: shape (N,): of the intended send, counted from the beginning of the measured time.
        micros: shape (N,): microseconds.
    """

    seconds: Counts
    micros: Counts


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
        with (into / f"{slug(name)}.hlog").open("w") as file:
            file.write(f"#[{name}: microseconds, by the second of the intended send]\n")
            file.write("#[Histogram log format version 1.3]\n")
            file.write(
                '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
            )
            for tag in TAGS:
                file.writelines(_log(tag, samples[name][tag], len(totals.failed)))
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


def histogram() -> Any:
    """An empty histogram, as all of ours are."""
    return HdrHistogram(1, LONGEST_US, DIGITS)


def _log(tag: str, samples: Samples, seconds: int) -> Iterator[str]:
    """The lines of a log; the library's writer knows no tags."""
    order = np.argsort(samples.seconds, kind="stable")
    begins = np.searchsorted(samples.seconds[order], np.arange(seconds + 1))
    micros = samples.micros[order]
    for second in range(seconds):
        one = histogram()
        for value in micros[begins[second] : begins[second + 1]].tolist():
            one.record_value(min(max(value, 1), LONGEST_US))
        longest = one.get_max_value() / 1000
        yield f"Tag={tag},{second:.3f},1.000,{longest:.3f},{one.encode().decode()}\n"


def _repetition(folder: Path) -> Repetition:
    run = msgspec.json.decode((folder / "run.json").read_bytes(), type=Run)
    targets = {}
    for name, totals in run.targets.items():
        targets[name] = TargetRun(
            name=name,
            series=_tables(folder / f"{slug(name)}.hlog", len(totals.failed)),
            failed=np.array(totals.failed, np.int64),
            failures=totals.failures,
            examples=totals.examples,
            unsent=totals.unsent,
            server=_edges(totals.server),
            server_batches=_edges(totals.server_batches),
            server_queue=_edges(totals.server_queue),
        )
    return Repetition(run=run, targets=targets)


def _tables(path: Path, seconds: int) -> dict[str, Series]:
    empty = histogram()
    highest = np.array(
        [
            empty.get_highest_equivalent_value(empty.get_value_from_index(i))
            for i in range(empty.counts_len)
        ],
        np.int64,
    )
    found: dict[str, dict[int, tuple[Counts, Counts]]] = {tag: {} for tag in TAGS}
    for tag, second, counts in _lines(path, empty):
        if tag not in found or not 0 <= second < seconds or second in found[tag]:
            raise ValueError(f"{path}: a histogram {tag!r} of second {second}")
        places = np.flatnonzero(counts)  # a few of thousands
        found[tag][second] = places, counts[places]
    for tag, lines in found.items():
        if len(lines) != seconds:
            raise ValueError(f"{path} has {len(lines)} histograms {tag!r}, not {seconds}")
    return {tag: _series(highest, lines, seconds) for tag, lines in found.items()}


def _lines(path: Path, empty: Any) -> Iterator[tuple[str, int, Counts]]:
    """Tag, second and counts of each line.

    Raises:
        ValueError: a line cannot be read.
    """
    reader = HistogramLogReader(str(path), empty)
    try:
        while (one := reader.get_next_interval_histogram()) is not None:
            second = round(one.get_start_time_stamp() / 1000)
            if len(one.counts) != empty.counts_len or one.significant_figures != DIGITS:
                raise ValueError(f"second {second} has other buckets than ours")
            yield one.get_tag(), second, np.ctypeslib.as_array(one.counts).astype(np.int64)
    except _BROKEN as error:
        raise ValueError(f"{path} is broken: {type(error).__name__}: {error}") from None
    finally:
        reader.input_file.close()


def _series(highest: Counts, lines: Mapping[int, tuple[Counts, Counts]], seconds: int) -> Series:
    used = np.unique(np.concatenate([np.empty(0, np.int64), *(p for p, _ in lines.values())]))
    counts = np.zeros((seconds, len(used)), np.int64)
    for second, (places, found) in lines.items():
        counts[second, np.searchsorted(used, places)] = found
    return Series(values=highest[used], counts=counts)


def _edges(named: Mapping[str, float]) -> dict[float, float]:
    return {float(edge): count for edge, count in named.items()}
