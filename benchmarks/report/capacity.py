"""`capacity.html`: how the latency climbs with the load, and where the promise breaks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from matplotlib.axes import Axes

from benchmarks.knee import Capacity
from benchmarks.report import html, scale, svg
from benchmarks.report.document import Environment
from benchmarks.report.figures import plot
from benchmarks.report.notation import number


def write(folder: Path, found: Capacity, environment: Environment) -> None:
    """Write the page into a folder."""
    (folder / "capacity.html").write_text(render(found, environment), "utf-8")


def render(found: Capacity, environment: Environment) -> str:
    """The page."""
    plots = [
        plot(
            partial(_latency, found=found),
            key="latency",
            title="Latency by load",
            caption="Each mark is a run of its own; hollow: not sustained. Where no mark is, more "
            "requests failed than the quantile leaves over.",
            description=f"The limit of {number(found.limit_ms)} ms is kept up to "
            f"{number(found.sustained)} requests a second.",
        ),
        plot(
            partial(_throughput, found=found),
            key="throughput",
            title="Answers by load",
            caption="Right answers a second beside the requests that were due. What lies below the "
            "line was refused, failed or came too late to be waited for.",
            description=f"At most {number(max(s.answered for s in found.steps))} right answers a "
            "second.",
        ),
    ]
    return html.rendered("capacity.html.j2", found=found, environment=environment, plots=plots)


def _latency(axes: Axes, found: Capacity) -> None:
    times = [t for s in found.steps for t in (s.p50_ms, s.p99_ms) if t is not None]
    scale.milliseconds(axes, [*times, found.limit_ms])
    _rates(axes, found)
    for name, colour in (("p99", svg.LATENCY), ("p50", svg.SERVICE)):
        points = [(s.rate, getattr(s, f"{name}_ms"), s.sustained) for s in found.steps]
        known = [(rate, ms, kept) for rate, ms, kept in points if ms is not None]
        axes.plot([x for x, _, _ in known], [y for _, y, _ in known], color=colour, label=name)
        for rate, ms, kept in known:
            _mark(axes, rate, ms, colour, kept=kept)
    axes.axhline(found.limit_ms, color=svg.LIMIT, label="limit of p99")


def _throughput(axes: Axes, found: Capacity) -> None:
    _rates(axes, found)
    most = max(step.rate for step in found.steps)
    axes.plot([0, most], [0, most], color=svg.MUTED, linestyle=(0, (4, 1.5)), label="due")
    axes.plot(
        [s.rate for s in found.steps],
        [s.answered for s in found.steps],
        color=svg.LATENCY,
        label="answered right",
    )
    for step in found.steps:
        _mark(axes, step.rate, step.answered, svg.LATENCY, kept=step.sustained)
    axes.set_ylim(0, most * 1.05)
    axes.set_ylabel("a second")


def _mark(axes: Axes, x: float, y: float, colour: str, *, kept: bool) -> None:
    axes.plot(
        [x],
        [y],
        marker="o",
        markersize=5,
        color=colour,
        markerfacecolor=colour if kept else svg.PAPER,
        linestyle="none",
    )


def _rates(axes: Axes, found: Capacity) -> None:
    axes.set_xlim(0, max(step.rate for step in found.steps) * 1.05)
    axes.set_xlabel("requests a second")
