"""The metrics of the sync, from what it leaves on disk: right whichever worker is asked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.errors import ConfigurationError
from service.registry import beat
from service.registry.state import StateFolder


def exposition(folder: Path) -> bytes:
    """All `lupine_sync_*` metrics; nothing where nobody ever synced."""
    if not (folder / StateFolder.STATE).is_file():
        return b""
    registry = CollectorRegistry()
    registry.register(_Synced(folder))
    return generate_latest(registry)


class _Synced(Collector):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering reads no file."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """What is on disk now."""
        done = beat.read(self._folder)
        for name, told, count in (
            ("lupine_sync_polls", "Looks at the registry", done.polls),
            ("lupine_sync_failed_polls", "Looks that found something wrong", done.failed),
            ("lupine_sync_fetched_versions", "Versions that were brought here", done.fetched),
            ("lupine_sync_fetched_bytes", "Bytes of those versions", done.fetched_bytes),
            ("lupine_sync_flips", "Aliases that went to another version", done.flipped),
            ("lupine_sync_retired_versions", "Versions that were taken away", done.retired),
        ):
            yield CounterMetricFamily(name, told, count)
        for name, told, value in (
            ("lupine_sync_last_poll_timestamp_seconds", "The last look, since 1970", done.at),
            ("lupine_sync_last_success_timestamp_seconds", "The last that was well", done.well_at),
        ):
            yield GaugeMetricFamily(name, told, value)
        try:
            state = StateFolder(self._folder).read()
        except ConfigurationError:  # the sync itself says so, and `lupine sync status`
            return
        for name, told, count in (
            ("lupine_sync_models", "Models that the sync looks after", len(state.models)),
            ("lupine_sync_refused_versions", "Versions that are not served", len(state.refused)),
            ("lupine_sync_registry_up", "Whether the registry answered", int(not state.registry)),
        ):
            yield GaugeMetricFamily(name, told, count)
