"""Axes of a report's plots: milliseconds on a logarithmic scale, quantiles as 1/(1-q)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from benchmarks.report.notation import number, share

_STEPS = (1.0, 2.0, 5.0)
_WIDE = 2.5  # decades from which on a label at each power of ten is enough


def rarity(p: float) -> float:
    """Where a quantile lies on the axis: one request in so many takes longer."""
    return 1 / (1 - p)


def milliseconds(axes: Axes, values: Iterable[float]) -> None:
    """A logarithmic y axis that ends on round numbers around some values, all positive."""
    found = [value for value in values if value > 0 and math.isfinite(value)] or [1.0, 10.0]
    low, high = _round_down(min(found) * 0.95), _round_up(max(found) * 1.05)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    wide = math.log10(high / low) > _WIDE
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else _STEPS))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axes.set_ylabel("ms")


def quantiles(axes: Axes, total: int) -> None:
    """A logarithmic x axis of quantiles, as far as so many requests can tell them."""
    nines = max(math.ceil(math.log10(max(total, 2)) - 0.3), 2)
    axes.set_xscale("log")
    axes.set_xlim(1, max(10.0**nines, 1.1 * total))
    ticks = [2.0, *(10.0**n for n in range(1, nines + 1))]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{share(100 - 100 / x)} %"))


def _plain(value: float) -> str:
    return f"{value:g}" if value < 1 else number(round(value)).replace(".00", "").replace(".0", "")


def _round_down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in _STEPS if step * power <= value * (1 + 1e-9))


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return min(step * power for step in (*_STEPS, 10.0) if step * power >= value * (1 - 1e-9))
