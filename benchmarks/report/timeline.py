"""What a target, and the load generator, did over time: repetitions one after another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmarks.distribution import Floats, rank
from benchmarks.report import scale, svg
from benchmarks.result import Pulse, Repetition, TargetRun
from benchmarks.series import LATENCY, Counts

_POINTS = 160  # over all repetitions
_LABELS = 12  # repetitions that have room for a name each


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A target over time; between two repetitions lies a gap of one point, NaN.

    Args:
        ends: shape (R,): seconds at which each repetition ends.
        middles: shape (T,): seconds, the middle of each piece of time.
        asked: shape (T,), a second.
        answered: shape (T,), right answers a second.
        failed: shape (T,), a second.
        p50: shape (T,), milliseconds; NaN where it is infinite.
        p99: the same.
        longest: the same, of those that ended.
        width: seconds of each piece.
    """

    ends: Sequence[float]
    middles: Floats
    asked: Floats
    answered: Floats
    failed: Floats
    p50: Floats
    p99: Floats
    longest: Floats
    width: int


def timeline(runs: Sequence[TargetRun]) -> Timeline:
    """A target over time, in pieces of as many seconds as fit the width of a plot."""
    lengths = [len(run.failed) for run in runs]
    width = max(math.ceil(sum(lengths) / _POINTS), 1)
    begins = list(accumulate(lengths, initial=0))
    rows: list[tuple[float, ...]] = []
    for begin, run in zip(begins, runs, strict=False):
        rows += _pieces(run, begin, width)
        rows.append((math.nan,) * 7)
    table = np.array(rows, np.float64).reshape(-1, 7)
    middles, asked, answered, failed, p50, p99, longest = table.T
    return Timeline(
        ends=begins[1:],
        middles=middles,
        asked=asked,
        answered=answered,
        failed=failed,
        p50=p50,
        p99=p99,
        longest=longest,
        width=width,
    )


def latency(axes: Axes, line: Timeline) -> None:
    """Median, p99 and the longest latency of each piece of time."""
    scale.milliseconds(axes, [*line.p50, *line.p99, *line.longest])
    style: dict[str, Any] = {"markersize": 2.5, "marker": "."}
    axes.plot(
        line.middles, line.longest, color=svg.MUTED, linestyle="none", label="longest", **style
    )
    axes.plot(
        line.middles, line.p99, color=svg.LATENCY, linestyle=(0, (4, 1.5)), label="p99", **style
    )
    axes.plot(line.middles, line.p50, color=svg.LATENCY, label="p50", **style)
    _seconds(axes, line.ends)


def throughput(axes: Axes, line: Timeline) -> None:
    """What was asked, answered right and failed, a second."""
    axes.fill_between(
        line.middles,
        line.failed,
        color=svg.FAILED,
        alpha=0.55,
        linewidth=0,
        step="mid",
        label="failed",
    )
    axes.plot(
        line.middles,
        line.asked,
        color=svg.SERVICE,
        linestyle=(0, (4, 1.5)),
        drawstyle="steps-mid",
        label="asked",
    )
    axes.plot(
        line.middles,
        line.answered,
        color=svg.LATENCY,
        drawstyle="steps-mid",
        label="answered right",
    )
    axes.set_ylim(0, max(float(np.nanmax(line.asked, initial=0)), 1) * 1.12)
    axes.set_ylabel("requests a second")
    _seconds(axes, line.ends)


def processor(axes: Axes, repetitions: Sequence[Repetition]) -> None:
    """The busiest generator process, and its host: shares in percent."""
    seconds, table, ends = _pulses(repetitions)
    cpu, _, _, steal, idle = (100 * column for column in table.T)
    axes.plot(seconds, idle, color=svg.SERVICE, linestyle=(0, (4, 1.5)), label="host idle")
    axes.plot(seconds, steal, color=svg.FAILED, label="host stolen")
    axes.plot(seconds, cpu, color=svg.LATENCY, label="busiest process")
    axes.set_ylim(0, 104)
    axes.set_ylabel("%")
    _seconds(axes, ends)


def pauses(axes: Axes, repetitions: Sequence[Repetition]) -> None:
    """The longest that a generator process was late, and what garbage collection took."""
    seconds, table, ends = _pulses(repetitions)
    _, lag, collecting, _, _ = table.T
    axes.plot(seconds, lag, color=svg.LATENCY, label="event loop late")
    axes.plot(
        seconds, collecting, color=svg.SERVER, linestyle=(0, (4, 1.5)), label="garbage collection"
    )
    axes.set_ylim(0, max(float(np.nanmax(table[:, 1:3], initial=0)), 1) * 1.12)
    axes.set_ylabel("ms")
    _seconds(axes, ends)


def _pieces(run: TargetRun, begin: float, width: int) -> Iterator[tuple[float, ...]]:
    series, lost = run.series[LATENCY], run.failed
    for first in range(0, len(lost), width):
        counts = series.counts[first : first + width].sum(axis=0)
        failed = int(lost[first : first + width].sum())
        seconds = min(width, len(lost) - first)
        right = int(counts.sum())
        upto = np.cumsum(counts)
        values = [
            _at(series.values, upto, rank(p, right + failed)) if right else math.nan
            for p in (0.5, 0.99)
        ]
        values.append(_at(series.values, upto, right) if right else math.nan)
        middle = begin + first + seconds / 2
        yield (middle, (right + failed) / seconds, right / seconds, failed / seconds, *values)


def _at(values: Counts, upto: Counts, place: int) -> float:
    index = int(np.searchsorted(upto, place))
    return float(values[index]) / 1000 if index < len(values) else math.nan


def _pulses(repetitions: Sequence[Repetition]) -> tuple[Floats, Floats, list[float]]:
    """The worst of all processes, second by second: cpu, lag, gc, steal; of idle the least.

    Returns:
        seconds, shape (T,); the five, shape (T, 5); the end of each repetition.
    """
    ends = list(accumulate(one.run.seconds for one in repetitions))
    width = max(math.ceil(ends[-1] / _POINTS), 1) if ends else 1
    rows: list[tuple[float, ...]] = []
    for one, end in zip(repetitions, ends, strict=True):
        pieces: dict[int, list[Pulse]] = {}
        for pulse in sorted(one.run.pulses, key=lambda pulse: pulse.second):
            if 0 <= pulse.second < one.run.seconds:
                pieces.setdefault(pulse.second // width, []).append(pulse)
        for piece, pulses in pieces.items():
            middle = end - one.run.seconds + min((piece + 0.5) * width, one.run.seconds)
            rows.append((middle, *_worst(pulses)))
        rows.append((math.nan,) * 6)
    table = np.array(rows, np.float64).reshape(-1, 6)
    return table[:, 0], table[:, 1:], ends


def _worst(pulses: Sequence[Pulse]) -> tuple[float, ...]:
    return (
        max(pulse.cpu for pulse in pulses),
        max(pulse.lag_ms for pulse in pulses),
        max(pulse.gc_ms for pulse in pulses),
        max(pulse.steal for pulse in pulses),
        min(pulse.idle for pulse in pulses),
    )


def _seconds(axes: Axes, ends: Sequence[float]) -> None:
    axes.set_xlim(0, max(ends[-1], 1) if ends else 1)
    axes.set_xlabel("seconds measured")
    axes.grid(visible=False, axis="x")
    if len(ends) == 1 or len(ends) > _LABELS:
        return
    for number, (begin, end) in enumerate(zip([0.0, *ends], ends, strict=False), start=1):
        axes.annotate(
            f"run {number}",
            ((begin + end) / 2, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 1),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=svg.MUTED,
        )
        if end != ends[-1]:
            axes.axvline(end, color=svg.MUTED, linewidth=0.6)
