"""Which plots a report has, and the words beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup
from matplotlib.axes import Axes

from benchmarks.distribution import pooled
from benchmarks.report import plots, svg, timeline
from benchmarks.report.notation import count, number, share
from benchmarks.report.summary import latency_of
from benchmarks.result import Repetition, TargetRun
from benchmarks.series import SERVICE
from benchmarks.verdict import TargetVerdict


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its words.

    Args:
        title: what it shows.
        caption: how to read it.
        svg: the drawing, an element.
    """

    title: str
    caption: str
    svg: Markup


def plot(
    draw: Callable[[Axes], None], *, key: str, title: str, caption: str, description: str
) -> Plot:
    """A drawing with its words.

    Args:
        draw: puts it on the axes.
        key: a name of letters, digits and dashes that no other plot of the page has.
        title: what it shows.
        caption: how to read it.
        description: what is to be seen, for whoever cannot.
    """
    drawing = svg.drawing(draw, key=key, title=title, description=description)
    return Plot(title, caption, Markup(drawing))  # noqa: S704 - our own drawing, escaped as XML


def of_target(key: str, verdict: TargetVerdict, runs: Sequence[TargetRun]) -> Iterator[Plot]:
    """The plots of a target's section; none where nothing was asked.

    Args:
        key: a name of letters and digits that no other target has.
        verdict: of the target.
        runs: its repetitions.
    """
    latency = latency_of(runs)
    if not latency.total:
        return
    service = pooled(run.series[SERVICE] for run in runs)
    middle, tail = number(latency.quantile(0.5)), number(latency.quantile(0.99))
    yield plot(
        partial(plots.quantiles, latency=latency, service=service, claims=verdict.claims),
        key=f"{key}-quantiles",
        title="Latency by quantile",
        caption="Latency counts from the intended send; service from the send itself, which is all "
        "that a closed loop would have shown. The space between the two is waiting.",
        description=f"Half of all took at most {middle} ms, 99 of 100 at most {tail} ms.",
    )
    line = timeline.timeline(runs)
    piece = "second" if line.width == 1 else f"{line.width} seconds"
    yield plot(
        partial(timeline.latency, line=line),
        key=f"{key}-time",
        title="Latency over time",
        caption=f"Of each {piece} of intended sends. A gap: too many failed for the quantile.",
        description=f"Overall, the median is {middle} ms and p99 {tail} ms.",
    )
    lost = share(100 * latency.endless / latency.total)
    yield plot(
        partial(timeline.throughput, line=line),
        key=f"{key}-rate",
        title="Throughput and failures",
        caption=f"Of each {piece}: requests that were due, right answers, and failures.",
        description=f"{count(latency.total)} requests were due, {lost} % failed.",
    )
    server = plots.added([run.server for run in runs])
    if any(server.values()) and service.total:
        yield plot(
            partial(plots.beside_server, service=service, server=server),
            key=f"{key}-server",
            title="Client beside gateway",
            caption="Service time at the client, and marks of the gateway's own histogram of the "
            "same requests. What lies between the two is the network, the kernel and the client.",
            description=f"{count(max(server.values()))} requests in the gateway's histogram.",
        )
    yield from _buckets(key, runs)


def of_generator(repetitions: Sequence[Repetition]) -> Iterator[Plot]:
    """The plots of the load generator's health; none where it kept no record."""
    pulses = [pulse for one in repetitions for pulse in one.run.pulses if pulse.second >= 0]
    if not pulses:
        return
    busiest, lag = max(p.cpu for p in pulses), max(p.lag_ms for p in pulses)
    yield plot(
        partial(timeline.processor, repetitions=repetitions),
        key="generator-cpu",
        title="Processor",
        caption="A process near 100 % measures itself. Stolen time went to other guests.",
        description=f"A process took at most {share(round(100 * busiest, 1))} % of a core.",
    )
    yield plot(
        partial(timeline.pauses, repetitions=repetitions),
        key="generator-pauses",
        title="Pauses",
        caption="The longest pause of any generator process in each second; it makes sends late.",
        description=f"An event loop was at most {number(lag)} ms late.",
    )


def _buckets(key: str, runs: Sequence[TargetRun]) -> Iterator[Plot]:
    batches = plots.row_shares(plots.added([run.server_batches for run in runs]))
    if batches:
        yield plot(
            partial(plots.buckets, shares=batches, what="rows in a batch"),
            key=f"{key}-batches",
            title="Batch sizes",
            caption="Share of the batches that the gateway sent to the engine.",
            description=_told(batches, "rows"),
        )
    queue = plots.wait_shares(plots.added([run.server_queue for run in runs]))
    if queue:
        yield plot(
            partial(plots.buckets, shares=queue, what="ms in the gateway's queue"),
            key=f"{key}-queue",
            title="Time in the queue",
            caption="Share of the requests that waited so long to be put into a batch.",
            description=_told(queue, "ms"),
        )


def _told(shares: Sequence[tuple[str, float]], unit: str) -> str:
    return "; ".join(f"{name} {unit}: {share(percent)} %" for name, percent in shares)
