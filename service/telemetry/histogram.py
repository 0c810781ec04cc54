"""A histogram that has edges of its own for some values of its first label.

prometheus_client's has the same edges for all. Each of the two counts an observation in one bucket
and the scrape adds the buckets up, so in every label set the counts rise with `le`, whichever
worker drew which edges. Below an edge that a worker draws later, what it counted before is missing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, values
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_INF = float("inf")


class Histogram(Collector):
    """Counts observations under values of its labels.

    Args:
        name: the metric's.
        documentation: its help text.
        labels: their names.
        edges: what every label set has, ascending, without infinity.
        registry: where it shows in a process that shares its metrics with no other.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        edges: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._edges = (*edges, _INF)
        self._extra: dict[str, frozenset[float]] = {}  # by the value of the first label
        self._series: dict[tuple[str, ...], _Series] = {}
        registry.register(self)

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        """Count a value under values of the labels, in their order."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series(self._value(labels, "_sum"))
            self._draw(labels, series)
        series.counts[bisect_left(series.edges, value)].inc(1)
        series.sum.inc(value)

    def draw(self, first: str, edges: Collection[float]) -> None:
        """Give all label sets with this first value these edges too. An edge once drawn stays."""
        known = self._extra.get(first, frozenset())
        if known.issuperset(edges):
            return
        self._extra[first] = known.union(edges)
        for labels, series in self._series.items():
            if labels[0] == first:
                self._draw(labels, series)

    def _draw(self, labels: tuple[str, ...], series: _Series) -> None:
        edges = sorted({*self._edges, *self._extra.get(labels[0], ())})
        # A value that is there already is kept: a second one would forget what the first counted.
        known = dict(zip(series.edges, series.counts, strict=True))
        series.counts = [
            known.get(edge) or self._value(labels, "_bucket", floatToGoString(edge))  # type: ignore[no-untyped-call]
            for edge in edges
        ]
        series.edges = edges

    def _value(self, labels: tuple[str, ...], suffix: str, *edge: str) -> Any:
        return values.ValueClass(
            "histogram",
            self._name,
            self._name + suffix,
            (*self._labels, "le") if edge else self._labels,
            (*labels, *edge),
            self._documentation,
        )

    def collect(self) -> Iterable[Metric]:
        """What this process counted."""
        metric = Metric(self._name, self._documentation, "histogram")
        for labels, series in list(self._series.items()):  # a scrape runs in a thread
            named = dict(zip(self._labels, labels, strict=True))
            edges, counts = series.edges, list(accumulate(c.get() for c in series.counts))
            for edge, count in zip(edges, counts, strict=True):
                le = floatToGoString(edge)  # type: ignore[no-untyped-call]
                metric.add_sample(f"{self._name}_bucket", named | {"le": le}, count)
            metric.add_sample(f"{self._name}_count", named, counts[-1])
            metric.add_sample(f"{self._name}_sum", named, series.sum.get())
        yield metric


class _Series:
    """One label set."""

    __slots__ = ("counts", "edges", "sum")

    def __init__(self, total: Any) -> None:
        self.edges: list[float] = []
        self.counts: list[Any] = []
        self.sum = total
