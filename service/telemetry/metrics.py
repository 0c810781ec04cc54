"""Every metric name of a worker, once; right over several: counters and histograms add up.

The sync has its own, made of what it leaves on disk: `registry/exposition.py`.
Label values are bounded: a model that is not known has the label "" here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.protocol.messages import Servable, Snapshot
from service.protocol.routes import NO_ROUTES, Routes
from service.protocol.span import Span, continued
from service.settings import TelemetrySettings
from service.telemetry import workers
from service.telemetry.access_log import OFF, AccessLog
from service.telemetry.histogram import Histogram

_SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5,
    0.75, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Telemetry:
    """The metrics of one worker. Hears from the data plane, the batcher and the engines.

    Args:
        settings: of the access log; none is kept where they are not given.
    """

    def __init__(self, settings: TelemetrySettings | None = None) -> None:
        self._registry = registry = CollectorRegistry()
        self._aliases = _Aliases()
        registry.register(self._aliases)
        self._requests = Histogram(
            "lupine_request_duration_seconds",
            "Time from a request's last byte to its answer",
            ["model", "version", "protocol", "code"],
            edges=_SECONDS,
            registry=registry,
        )
        self._queued = Histogram(
            "lupine_queue_duration_seconds",
            "Time a request waited for its batch to leave",
            ["model"],
            edges=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "lupine_batch_rows",
            "Rows in each run handed to the engine",
            ["model"],
            edges=_ROWS,
            registry=registry,
        )
        self._releases = Counter(
            "lupine_batch_release",
            "Batches that left their queue, by what released them",
            ["reason"],
            registry=registry,
        )
        self._released = {  # found once: every batch counts here
            reason: self._releases.labels(reason)
            for reason in ("full", "idle_engine", "deadline", "age")
        }
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
        self._shared_runs = Counter(
            "lupine_shared_memory_runs",
            "Runs whose large inputs went to Triton through shared memory",
            registry=registry,
        )
        self._shared_fallbacks = Counter(
            "lupine_shared_memory_fallback",
            "Runs that went to a Triton on this host without shared memory, by the reason",
            ["reason"],
            registry=registry,
        )
        self._fell_back = {  # found once: every run counts here
            reason: self._shared_fallbacks.labels(reason)
            for reason in ("small", "large", "growing", "full", "failed", "lost")
        }
        self._shadows = Counter(
            "lupine_shadow",
            "Requests for a shadow: agreed, disagreed, failed, or skipped for want of room",
            ["model", "outcome"],
            registry=registry,
        )
        self._webhooks = Counter(
            "lupine_sync_webhooks",
            "Deliveries of the registry's webhook, and whether they were heard",
            ["heard"],
            registry=registry,
        )
        self._lost_lines = Counter(
            "lupine_access_log_lost",
            "Lines of the access log that could not be written",
            registry=registry,
        )
        self.access_log = (
            None
            if settings is None or settings.access_log == OFF
            else AccessLog(settings, self._lost_lines.inc)
        )

    def shadowed(self, model: str, outcome: str) -> None:
        """A request was copied, or not; `outcome` is one of four words."""
        self._shadows.labels(model, outcome).inc()

    def webhook(self, *, heard: bool) -> None:
        """A delivery of the registry's webhook came."""
        self._webhooks.labels(str(heard).lower()).inc()

    def start(self) -> None:
        """Begin to write the access log, if there is one.

        Raises:
            ConfigurationError: it cannot be written.
        """
        if self.access_log is not None:
            self.access_log.start()

    def stop(self) -> None:
        """Write what the access log holds. Safe without a start."""
        if self.access_log is not None:
            self.access_log.stop()

    def span(self, traceparent: str | None, tracestate: str = "") -> Span | None:
        """The span of a request that has just come; None where nobody would look at it.

        Args:
            traceparent: the header; None where there is none, or more than one.
            tracestate: the headers of that name, joined by commas.
        """
        span = None if traceparent is None else continued(traceparent, tracestate)
        return Span() if span is None and self.access_log is not None else span

    def serving(self, snapshot: Snapshot, routes: Routes = NO_ROUTES) -> None:
        """These are the servables and aliases now: draw a bucket edge at the SLO of each."""
        self._aliases.routes = routes
        for model, versions in snapshot.servables.items():
            slos = {servable.policy.slo_p99 for servable in versions.values()}
            self._requests.draw(model, slos - {None})  # type: ignore[arg-type]  # mypy keeps the None

    def request(
        self, *, model: str, version: str, protocol: str, code: str, seconds: float
    ) -> None:
        """A request has been answered, well or not."""
        self._requests.observe((model, version, protocol, code), seconds)

    def batch_released(self, servable: Servable, waits: Sequence[float], reason: str) -> None:
        """A batch left its queue; empty: there was no queue to leave."""
        for seconds in waits:
            self._queued.observe((servable.name,), seconds)
        if reason:
            self._released[reason].inc()

    def run_sent(self, servable: Servable, rows: int) -> None:
        """A run was handed to the engine."""
        self._batches.observe((servable.name,), rows)

    def shed(self, model: str, reason: str) -> None:
        """A request was refused to protect the others."""
        self._shed.labels(model, reason).inc()

    def inflight(self, requests: int) -> None:
        """So many requests hold a permit in this worker."""
        self._inflight.set(requests)

    def scrape_failed(self) -> None:
        """Triton's own metrics could not be read."""
        self._scrape_failures.inc()

    def shared_memory_used(self) -> None:
        """A run's large inputs went to Triton through shared memory."""
        self._shared_runs.inc()

    def shared_memory_fallback(self, reason: str) -> None:
        """A run went without, though Triton is on this host."""
        self._fell_back[reason].inc()

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
        folder = workers.shared()
        if folder is None:
            return self._registry
        registry = CollectorRegistry()
        registry.register(_Sums(workers.read(folder)))
        registry.register(self._aliases)
        return registry


class _Aliases(Collector):
    """What each alias names. Every worker knows it; over the workers it would be a sum."""

    def __init__(self) -> None:
        self.routes = NO_ROUTES

    def collect(self) -> Iterable[Metric]:
        found = GaugeMetricFamily(
            "lupine_alias_version", "The version that an alias names", labels=["model", "alias"]
        )
        for model, routed in self.routes.models.items():
            for alias, version in routed.aliases.items():
                found.add_metric([model, alias], float(version))
        return [found]


class _Sums(Collector):
    """The metrics of all workers, as they were read."""

    def __init__(self, found: workers.Values) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return workers.families(self._found)
