"""What a mix showed: its answers judged, its latencies, and how the processes grew under it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import psutil

from benchmarks.harness.gateway import Running
from benchmarks.harness.record import Evidence
from benchmarks.mixed.mix import Lag, Mix
from benchmarks.mixed.resources import Series, growth
from benchmarks.wires.exchange import Fate

MAX_RSS_GROWTH = 0.02
"""Of the median: what a process may grow by over a whole run."""

MAX_DESCRIPTORS = 3.0
"""By which their number may differ: connections to Triton come and go."""


def processes(running: Running) -> dict[str, psutil.Process]:
    """All processes of a gateway, each by what it is.

    Raises:
        RuntimeError: no managed tritonserver is there.
    """
    server, guardian = running.tritonserver(), running.guardian()
    if server is None or guardian is None:
        raise RuntimeError("there is no managed tritonserver to watch")
    found = {f"worker {i}": worker for i, worker in enumerate(running.workers(), 1)}
    found |= {"supervisor": running.supervisor, "guardian": guardian, "tritonserver": server}
    stubs = server.children(recursive=True)  # each holds an instance of a model
    found |= {f"stub {i}": stub for i, stub in enumerate(stubs, 1)}
    others = [process for process in running.family() if process not in found.values()]
    return found | {f"other {i}": other for i, other in enumerate(others, 1)}


def judge(evidence: Evidence, mix: Mix, phase: str) -> None:
    """Every answer of a phase that was wrong, lost or unasked is a fault."""
    for name, form in mix.forms.items():
        for what in form.tally.wrong:
            evidence.fault(f"{phase}, {what}")
        for text, count in form.tally.texts.items():
            evidence.fault(f"{phase}: {count} × {text}")  # noqa: RUF001 - times
        if not form.tally.fates:
            evidence.fault(f"{phase}: nothing was asked by {name}")
    for what in mix.stray:
        evidence.fault(f"{phase}: an answer on a stream that nobody waited for: {what}")


def forms(evidence: Evidence, mix: Mix, lag: Lag) -> None:
    """Count what went wrong, and give the latencies of each form."""
    wrong = sum(len(form.tally.wrong) for form in mix.forms.values())
    lost = sum(
        form.tally.fates.total() - form.tally.fates[Fate.ANSWERED] for form in mix.forms.values()
    )
    evidence.add("wrong or swapped answers", wrong, "0", holds=not wrong)
    evidence.add("lost or failed requests", lost, "0", holds=not lost)
    evidence.add(
        f"answered twice or unasked, on {mix.streams} streams",
        len(mix.stray),
        "0",
        holds=not mix.stray,
    )
    latencies = {}
    for name, form in mix.forms.items():
        p50, p99 = np.percentile(form.millis, [50, 99])
        evidence.add(name, f"p50 {p50:.1f} ms, p99 {p99:.1f} ms of {len(form.millis)}")
        latencies[name] = {"p50_ms": p50, "p99_ms": p99, "requests": len(form.millis)}
    p50, p99 = np.percentile(lag.millis, [50, 99])
    evidence.add("the generator itself was late by", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    evidence.raw["forms"] = latencies
    evidence.raw["generator_lag_ms"] = {"p50": p50, "p99": p99}


def growths(evidence: Evidence, watched: Mapping[str, Series], since: float) -> None:
    """Hold the growth of each process's memory and descriptors from a moment on to its bound."""
    for name, whole in watched.items():
        if whole.gone:
            evidence.fault(f"{name} ended")
        series = whole.since(since)
        middle = float(np.median(series.rss))
        grown = growth(series.times, series.rss)
        evidence.add(
            f"{name}: memory",
            f"{middle:.0f} MiB, growth {grown:+.1f} MiB ({grown / middle:+.1%})",
            f"at most {MAX_RSS_GROWTH:.0%} after the warm-up",
            holds=grown <= MAX_RSS_GROWTH * middle,
        )
        more = growth(series.times, series.descriptors)
        ends = series.descriptors[-1] - series.descriptors[0]
        evidence.add(
            f"{name}: open descriptors",
            f"{series.descriptors[0]:.0f} to {series.descriptors[-1]:.0f}, growth {more:+.1f}",
            f"±{MAX_DESCRIPTORS:.0f}",
            holds=abs(more) <= MAX_DESCRIPTORS and abs(ends) <= MAX_DESCRIPTORS,
        )
        evidence.raw[name] = {
            "seconds": [round(at - whole.times[0], 1) for at in whole.times],
            "rss_mib": [round(value, 2) for value in whole.rss],
            "descriptors": whole.descriptors,
        }
