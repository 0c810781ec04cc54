"""Every metric name, once. Right over several workers: counters and histograms add up.

Label values are bounded: a model that is not known has the label "" here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from service.protocol.messages import Servable

_SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5,
    0.75, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Telemetry:
    """The metrics of one worker. Hears from the data plane, the batcher and the engines."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Histogram(
            "lupine_request_duration_seconds",
            "Time from a request's last byte to its answer",
            ["model", "version", "protocol", "code"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._queued = Histogram(
            "lupine_queue_duration_seconds",
            "Time a request waited for its batch to leave",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "lupine_batch_rows",
            "Rows in each run handed to the engine",
            ["model"],
            buckets=_ROWS,
            registry=registry,
        )
        self._shed = Counter(
            "lupine_shed",
            "Requests refused to protect the others",
            ["model", "reason"],
            registry=registry,
        )
        self._inflight = Gauge(
            "lupine_inflight_requests",
            "Requests that hold a permit",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._runs = Counter(
            "lupine_engine_runs",
            "Runs of an engine inside the gateway",
            ["model", "version", "ok"],
            registry=registry,
        )
        self._run_seconds = Counter(
            "lupine_engine_run_seconds",
            "Seconds in runs of an engine inside the gateway",
            ["model", "version", "ok"],
            registry=registry,
        )
        self._run_rows = Counter(
            "lupine_engine_rows",
            "Rows that an engine inside the gateway answered",
            ["model", "version"],
            registry=registry,
        )
        self._scrape_failures = Counter(
            "lupine_triton_scrape_failures",
            "Times that Triton's own metrics could not be read",
            registry=registry,
        )

    def request(
        self, *, model: str, version: str, protocol: str, code: str, seconds: float
    ) -> None:
        """A request has been answered, well or not."""
        self._requests.labels(model, version, protocol, code).observe(seconds)

    def batch_sent(self, servable: Servable, rows: int, waits: Sequence[float]) -> None:
        """A batch left its queue."""
        self._batches.labels(servable.name).observe(rows)
        queued = self._queued.labels(servable.name)
        for seconds in waits:
            queued.observe(seconds)

    def shed(self, model: str, reason: str) -> None:
        """A request was refused to protect the others."""
        self._shed.labels(model, reason).inc()

    def inflight(self, requests: int) -> None:
        """So many requests hold a permit in this worker."""
        self._inflight.set(requests)

    def scrape_failed(self) -> None:
        """Triton's own metrics could not be read."""
        self._scrape_failures.inc()

    def ran(self, model: str, version: str, rows: int, seconds: float, *, ok: bool) -> None:
        """An engine inside the gateway has run."""
        self._runs.labels(model, version, str(ok)).inc()
        self._run_seconds.labels(model, version, str(ok)).inc(seconds)
        if ok:
            self._run_rows.labels(model, version).inc(rows)

    def totals(self, model: str, version: str) -> Mapping[str, float]:
        """What engines inside the gateway have done for a version, over all workers."""
        registry = self._all_workers()
        labels = {"model": model, "version": version}
        good, bad = labels | {"ok": "True"}, labels | {"ok": "False"}

        def value(name: str, wanted: Mapping[str, str]) -> float:
            return registry.get_sample_value(name, dict(wanted)) or 0.0

        return {
            "rows": value("lupine_engine_rows_total", labels),
            "runs": value("lupine_engine_runs_total", good),
            "seconds": value("lupine_engine_run_seconds_total", good),
            "failures": value("lupine_engine_runs_total", bad),
            "failure_seconds": value("lupine_engine_run_seconds_total", bad),
        }

    def exposition(self) -> bytes:
        """All workers' metrics in Prometheus' text format."""
        return generate_latest(self._all_workers())

    def _all_workers(self) -> CollectorRegistry:
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if folder is None:
            return self._registry
        _forget_the_dead(Path(folder))
        # Made anew each time, as prometheus_client's multiprocess mode asks for.
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry


def _forget_the_dead(folder: Path) -> None:
    """What a worker held when it died is no longer held; what it counted stays."""
    for path in folder.glob("gauge_live*.db"):
        if not psutil.pid_exists(int(path.stem.rpartition("_")[2])):
            path.unlink(missing_ok=True)
