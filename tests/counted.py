"""Repetitions made of counts: so many requests of each latency in each second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from benchmarks.result import Pulse, Repetition, Run, TargetRun
from benchmarks.series import LATE, LATENCY, TAGS, Counts, Series
from benchmarks.sla import Limits, Sla, Target

NAME = "digits"


def series(by_latency: Mapping[float, Any], seconds: int) -> Series:
    """Counts of each second by latency in milliseconds; one number stands for every second."""
    latencies = sorted(by_latency)
    columns = [np.broadcast_to(np.asarray(by_latency[one], np.int64), seconds) for one in latencies]
    table = np.stack(columns, axis=1) if columns else np.zeros((seconds, 0), np.int64)
    values = np.array([round(one * 1000) for one in latencies], np.int64)
    return Series(values=values, counts=table)


def target_run(
    by_latency: Mapping[float, Any],
    *,
    name: str = NAME,
    seconds: int = 60,
    failed: Any = 0,
    late: Mapping[float, Any] | None = None,
    unsent: int = 0,
    server: Mapping[float, float] | None = None,
) -> TargetRun:
    """One target in one repetition."""
    nothing = series({}, seconds)
    punctual = {0.1: series(by_latency, seconds).counts.sum(axis=1)}
    tables = dict.fromkeys(TAGS, nothing)
    tables[LATENCY] = series(by_latency, seconds)
    tables[LATE] = series(punctual if late is None else late, seconds)
    return TargetRun(
        name=name,
        series=tables,
        failed=np.broadcast_to(np.asarray(failed, np.int64), seconds),
        failures={},
        examples=(),
        unsent=unsent,
        server=server or {},
        server_batches={},
        server_queue={},
    )


def pulse(second: int, **changed: Any) -> Pulse:
    """A second of a generator that is well."""
    usual: dict[str, Any] = {"worker": 0, "cpu": 0.3, "lag_ms": 0.5, "gc_ms": 0.1, "steal": 0.0}
    return Pulse(second=second, **(usual | {"idle": 0.6} | changed))


def repetition(*targets: TargetRun, number: int = 1, **changed: Any) -> Repetition:
    """A complete repetition with a generator that was well, unless told otherwise."""
    seconds = len(targets[0].failed) if targets else 60
    run = Run(
        number=number,
        seed=number,
        began="2026-11-25T10:00:00Z",
        seconds=float(seconds),
        workers=1,
        complete=True,
        problem="",
        pulses=tuple(pulse(second) for second in range(-2, seconds)),
        connect_ms=(),
        targets={},
    )
    whole = msgspec.structs.replace(run, **changed)
    return Repetition(run=whole, targets={one.name: one for one in targets})


def repetitions(*runs: TargetRun) -> list[Repetition]:
    """One target's repetitions, numbered."""
    return [repetition(run, number=number) for number, run in enumerate(runs, 1)]


def promised(rate: float = 100.0, count: int = 3, **limits: Any) -> Sla:
    """An SLA of one target; a minute, three times."""
    target = Target(name=NAME, model=NAME, rate=rate, limits=Limits(**limits))
    return Sla(target=(target,), repetitions=count)


def exceeding(counts: Counts, rate: int, *, under: float = 10.0, over: float = 200.0) -> TargetRun:
    """A run of `rate` requests a second, of which some in each second take long."""
    slow = np.asarray(counts, np.int64)
    return target_run({under: rate - slow, over: slow}, seconds=len(slow))
