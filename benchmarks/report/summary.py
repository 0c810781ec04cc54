"""What a target did, in a few numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks import sla as slas
from benchmarks.distribution import Distribution, pooled
from benchmarks.report.document import Quantiles, Summary
from benchmarks.result import Repetition, TargetRun
from benchmarks.series import LATE, LATENCY, SERVICE, WAIT
from benchmarks.sla import Sla


def summarise(sla: Sla, repetitions: Sequence[Repetition]) -> tuple[Summary, ...]:
    """The numbers of each target of an SLA, over all repetitions.

    Args:
        sla: what was promised.
        repetitions: what was measured; one that ended early may lack a target.
    """
    return tuple(_summary(target, repetitions) for target in sla.target)


def runs_of(name: str, repetitions: Sequence[Repetition]) -> list[TargetRun]:
    """What a target did in each repetition that has it."""
    return [one.targets[name] for one in repetitions if name in one.targets]


def latency_of(runs: Sequence[TargetRun]) -> Distribution:
    """Latencies; requests without a right answer are longer than all."""
    endless = sum(int(run.failed.sum()) for run in runs)
    return pooled((run.series[LATENCY] for run in runs), endless)


def _summary(target: slas.Target, repetitions: Sequence[Repetition]) -> Summary:
    runs = runs_of(target.name, repetitions)
    asked = sum(int(run.asked.sum()) for run in runs)
    failed: Counter[str] = Counter()
    for run in runs:
        failed.update(run.failures)
    seconds = sum(len(run.failed) for run in runs)
    right = sum(run.series[LATENCY].total for run in runs)
    return Summary(
        name=target.name,
        seconds=seconds,
        asked=asked,
        answered=right,
        failed=dict(failed.most_common()),
        unsent=sum(run.unsent for run in runs),
        promised_rate=slas.offered(target),
        offered_rate=asked / seconds if seconds else 0.0,
        achieved_rate=right / seconds if seconds else 0.0,
        latency=_quantiles(latency_of(runs)),
        service=_quantiles(pooled(run.series[SERVICE] for run in runs)),
        late_p99_ms=pooled(run.series[LATE] for run in runs).quantile(0.99),
        wait_p99_ms=pooled(run.series[WAIT] for run in runs).quantile(0.99),
    )


def _quantiles(times: Distribution) -> Quantiles:
    return Quantiles(
        p50_ms=times.quantile(0.5),
        p90_ms=times.quantile(0.9),
        p95_ms=times.quantile(0.95),
        p99_ms=times.quantile(0.99),
        p999_ms=times.quantile(0.999),
        max_ms=times.longest,
    )
