"""Targets that take turns under wrk, so that a machine whose speed drifts favours none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.progress import Progress

from benchmarks.harness import wrk
from benchmarks.harness.record import Evidence
from benchmarks.harness.wrk import Load

Loads = Mapping[tuple[str, int], Sequence[Load]]
"""By target and connections: what each round measured."""


def measure(
    urls: Mapping[str, str],
    request: Path,
    connections: Sequence[int],
    *,
    rounds: int,
    seconds: int,
) -> Loads:
    """Warm every target, then in each round ask each of them over so many connections.

    Args:
        urls: of the targets, by name.
        request: wrk's script.
        connections: of one load, in the order in which they are tried.
        rounds: that are recorded.
        seconds: of each load.
    """
    loads: dict[tuple[str, int], list[Load]] = {}
    for url in urls.values():
        wrk.run(url, request, connections=64, seconds=3)
    with Progress() as progress:
        task = progress.add_task("wrk", total=rounds * len(connections) * len(urls))
        for _ in range(rounds):
            for number in connections:
                for name, url in urls.items():
                    load = wrk.run(url, request, connections=number, seconds=seconds)
                    loads.setdefault((name, number), []).append(load)
                    progress.advance(task)
    return loads


def keep(evidence: Evidence, key: str, runs: Sequence[Load]) -> None:
    """Record what the rounds measured; requests that failed are a fault."""
    evidence.raw[key] = [{"rate": run.rate, "p50_ms": run.p50, "p99_ms": run.p99} for run in runs]
    if failed := sum(run.failed for run in runs):
        evidence.fault(f"{key}: {failed} requests failed")
