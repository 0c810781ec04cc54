"""What a target's distributions look like: quantiles, client beside server, batches, the queue."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from benchmarks.distribution import Distribution, Floats
from benchmarks.report import scale, svg
from benchmarks.report.notation import share
from benchmarks.series import Counts
from benchmarks.verdict import Claim

_POINTS = 240  # of a curve: more than its pixels on a phone


def quantiles(
    axes: Axes, latency: Distribution, service: Distribution, claims: Sequence[Claim]
) -> None:
    """Latency beside service time, with the limits and what the samples bound.

    Source of the form: HdrHistogram's plots of percentiles.
    """
    told = {p: claim for claim in claims if (p := probability(claim)) is not None}
    scale.quantiles(axes, max(latency.total, service.total))
    shown = [latency.longest, service.longest]
    shown += [latency.quantile(0.2), service.quantile(0.2)]
    shown += [one for claim in told.values() for one in (claim.limit, claim.low, claim.high)]
    scale.milliseconds(axes, [value for value in shown if value is not None])
    if latency.endless:
        _failures(axes, latency)
    _curve(axes, service, color=svg.SERVICE, linestyle=(0, (4, 1.5)), label="service")
    _curve(axes, latency, color=svg.LATENCY, label="latency")
    top = axes.get_ylim()[1]
    for place, (p, claim) in enumerate(sorted(told.items())):
        x = scale.rarity(p)
        named = place == 0
        reach = [x / 1.45, x * 1.45]
        axes.plot(
            reach,
            [claim.limit] * 2,
            color=svg.LIMIT,
            linewidth=2.4,
            label="limit" if named else None,
        )
        if claim.low is not None:
            high = top if claim.high is None else claim.high
            axes.plot(
                [x, x],
                [claim.low, high],
                color=svg.INK,
                linewidth=1,
                marker="_",
                markersize=7,
                label="confidence" if named else None,
            )


def probability(claim: Claim) -> float | None:
    """The quantile that a claim is about: 0.999 of "p99.9"; None where it is about none."""
    digits = re.fullmatch(r"p(\d\d)\.?(\d*)", claim.name)
    return float(f"0.{digits[1]}{digits[2]}") if digits else None


def beside_server(axes: Axes, service: Distribution, server: Mapping[float, float]) -> None:
    """What the client saw from the send on, and what the gateway says of the same requests.

    Args:
        axes: to draw on.
        service: as the client saw it.
        server: bucket edge in seconds to cumulative count.
    """
    edges = sorted((edge, count) for edge, count in server.items() if np.isfinite(edge))
    total = max(server.values())
    seen = [(rest, edge * 1000) for edge, count in edges if (rest := 1 - count / total) < 1]
    last = next((i for i, (rest, _) in enumerate(seen) if rest <= 0), len(seen))
    kept = seen[: last + 1]  # edges beyond the one that holds all say nothing
    scale.quantiles(axes, service.total)
    ends = [service.longest, service.quantile(0.2)]
    scale.milliseconds(axes, [*(y for _, y in kept), *(one for one in ends if one is not None)])
    furthest = axes.get_xlim()[1]
    _curve(axes, service, color=svg.SERVICE, linestyle=(0, (4, 1.5)), label="client: service")
    axes.plot(
        [1 / rest if rest > 0 else furthest for rest, _ in kept],
        [y for _, y in kept],
        color=svg.SERVER,
        linestyle="none",
        marker="v",
        markersize=5,
        clip_on=False,
        label="gateway: at most",
    )


def buckets(axes: Axes, shares: Sequence[tuple[str, float]], what: str) -> None:
    """A bar for each bucket of a histogram.

    Args:
        axes: to draw on.
        shares: name of each bucket, and its percentage.
        what: the buckets are.
    """
    places = range(len(shares))
    axes.bar(places, [percent for _, percent in shares], width=0.72, color=svg.SERVER, linewidth=0)
    axes.set_xticks(list(places), [name for name, _ in shares])
    axes.tick_params(axis="x", length=0)
    if len(shares) > 8:
        axes.tick_params(axis="x", rotation=60)
    axes.set_ylim(0, max(percent for _, percent in shares) * 1.14)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(what)
    axes.set_ylabel("%")
    for place, (_, percent) in zip(places, shares, strict=True):
        axes.annotate(
            share(percent),
            (place, percent),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )


def added(histograms: Sequence[Mapping[float, float]]) -> dict[float, float]:
    """Cumulative histograms of several repetitions as one: edge to count."""
    whole: Counter[float] = Counter()
    for one in histograms:
        whole.update(one)
    return dict(sorted(whole.items()))


def row_shares(batches: Mapping[float, float]) -> list[tuple[str, float]]:
    """Buckets of a histogram of whole numbers, and their percentages; empty if it is."""
    return _shares(batches, _rows)


def wait_shares(queue: Mapping[float, float]) -> list[tuple[str, float]]:
    """Buckets of a histogram of seconds, named in milliseconds, and their percentages."""
    return _shares(
        queue, lambda low, high: f"≤ {high * 1000:g}" if np.isfinite(high) else _over(low)
    )


def _rows(low: float, high: float) -> str:
    if not np.isfinite(high):
        return f"> {low:g}"
    return f"{high:g}" if high - low <= 1 else f"{low + 1:g}–{high:g}"  # noqa: RUF001 - a range


def _over(low: float) -> str:
    return f"> {low * 1000:g}"


def _shares(
    histogram: Mapping[float, float], name: Callable[[float, float], str]
) -> list[tuple[str, float]]:
    """The buckets from the first to the last that hold anything."""
    total = max(histogram.values(), default=0)
    if total <= 0:
        return []
    ordered = [(0.0, 0.0), *sorted(histogram.items())]
    found = [
        (name(low, high), 100 * (upto - before) / total)
        for (low, before), (high, upto) in pairwise(ordered)
    ]
    held = [place for place, (_, percent) in enumerate(found) if percent > 0]
    return found[held[0] : held[-1] + 1]


def _curve(axes: Axes, times: Distribution, **style: Any) -> None:
    """Quantiles as a staircase: each time from the first request that took it to the next."""
    values, rest = times.curve()
    if not len(values):
        return
    x = np.append(1 / rest, times.total / max(times.endless, 1))
    y = np.append(values, values[-1])
    kept = _thinned(np.log(x))
    axes.plot(x[kept], y[kept], drawstyle="steps-post", **style)


def _thinned(x: Floats) -> Counts:
    """Places of so few points that a page stays small; the last one is among them."""
    cells = np.round(x / max(float(x[-1]), 1e-9) * _POINTS)
    _, first = np.unique(cells, return_index=True)
    return np.append(first, len(x) - 1)


def _failures(axes: Axes, latency: Distribution) -> None:
    """From here on to the right, quantiles are infinite."""
    x = latency.total / latency.endless
    axes.axvspan(x, axes.get_xlim()[1], facecolor=svg.FAILED, alpha=0.12, linewidth=0)
    axes.plot([x, x], axes.get_ylim(), color=svg.FAILED, linewidth=1, label="failed")
