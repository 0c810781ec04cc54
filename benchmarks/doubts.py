"""Whether the measurement itself is to be trusted: the generator, its host, and both counts. Pure.

A generator that is late or starved measures itself; a server that counted other requests than ours
served somebody else. Neither speaks for or against the gateway.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from benchmarks.distribution import pooled
from benchmarks.promise import promises
from benchmarks.result import Pulse, Repetition, TargetRun
from benchmarks.series import LATE, LATENCY
from benchmarks.sla import Constant, Poisson, Sla, Target, offered

_BUSY = 0.9  # of a core
_STOLEN, _STOLEN_MUCH = 0.05, 0.2  # of the host's time
_SIGMAS = 5.0
_TAIL = 0.9  # quantiles from here on; a pause that a tail can bear is nothing to a median


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """Why the measurement itself is not to be trusted, and what to change."""

    what: str
    advice: str
    target: str = ""


def find(sla: Sla, repetitions: Sequence[Repetition]) -> tuple[Doubt, ...]:
    """Everything that speaks against a measurement; those without a target touch all targets.

    Args:
        sla: what was to be measured.
        repetitions: what was measured.
    """
    found = [*_whole(sla, repetitions), *_generator(sla, repetitions), *_host(repetitions)]
    for target in sla.target:
        runs = [one.targets[target.name] for one in repetitions if target.name in one.targets]
        seconds = sum(one.run.seconds for one in repetitions if target.name in one.targets)
        if runs:
            found += [*_late(target, runs), *_offered(target, runs, seconds)]
    return (*found, *_server(sla, repetitions))


def _whole(sla: Sla, repetitions: Sequence[Repetition]) -> Iterator[Doubt]:
    for one in repetitions:
        if not one.run.complete:
            why = one.run.problem or "nobody knows why"
            yield Doubt(
                what=f"repetition {one.run.number} ended early: {why}",
                advice="mend what ended it, and measure again",
            )
        elif one.run.seconds < 0.99 * sla.duration_seconds:
            yield Doubt(
                what=f"repetition {one.run.number} measured {one.run.seconds:g} s"
                f" of {sla.duration_seconds:g}",
                advice="measure again, for as long as the SLA says",
            )
    if len(repetitions) < sla.repetitions:
        yield Doubt(
            what=f"there are {len(repetitions)} of {sla.repetitions} repetitions",
            advice="measure again, as often as the SLA says",
        )


def _generator(sla: Sla, repetitions: Sequence[Repetition]) -> Iterator[Doubt]:
    """What its processes tell of themselves."""
    by_process = {
        (one.run.number, worker): [pulse for pulse in _measured(one) if pulse.worker == worker]
        for one in repetitions
        for worker in {pulse.worker for pulse in one.run.pulses}
    }
    told = sum(len(pulses) for pulses in by_process.values())
    due = sum(int(one.run.seconds) * one.run.workers for one in repetitions)
    if told < due / 2:
        yield Doubt(
            what=f"the generator told how it was in {told} of {due} seconds of its processes",
            advice="it was starved, or hung: more `processes`, another host, or a lower rate",
        )
    shares = {
        process: sum(pulse.cpu > _BUSY for pulse in pulses) / len(pulses)
        for process, pulses in by_process.items()
        if pulses
    }
    if shares and (most := max(shares.values())) > 0.1:
        number, worker = max(shares, key=shares.__getitem__)
        yield Doubt(
            what=f"generator process {worker} used over {_BUSY:g} of a core in {most:.0%} of the"
            f" seconds of repetition {number}",
            advice=f"more than {sla.processes} `processes`, another host, or a lower rate",
        )
    pulses = [pulse for one in by_process.values() for pulse in one]
    yield from _stuck(sla, "event loop was late by", [pulse.lag_ms for pulse in pulses])
    yield from _stuck(sla, "garbage collection took", [pulse.gc_ms for pulse in pulses])


def _stuck(sla: Sla, what: str, longest: Sequence[float]) -> Iterator[Doubt]:
    """Where a process stood still for more of the time than a quantile leaves over.

    An answer that comes meanwhile is read late. That can only lengthen a latency, and it does so to
    as many requests as the share of the time.

    Args:
        sla: what was promised.
        what: of the process.
        longest: milliseconds, the longest of each second.
    """
    tails = [one for target in sla.target for one in promises(target) if _TAIL <= one.p < 1]
    limits = [one.limit_ms for one in tails if math.isfinite(one.limit_ms)]
    threshold = max(5.0, min(limits, default=0.0) / 10)
    strictest = max((one.p for one in tails if math.isfinite(one.limit_ms)), default=0.99)
    over = [one for one in longest if one > threshold]
    share, bearable = sum(over) / 1000 / max(len(longest), 1), (1 - strictest) / 2
    if share > bearable:
        yield Doubt(
            what=f"the generator's {what} more than {threshold:g} ms in {len(over)} of"
            f" {len(longest)} seconds of its processes, {max(over):.0f} ms at most:"
            f" {share:.2%} of the time, and a p{100 * strictest:g} can bear {bearable:.2%}",
            advice=f"more than {sla.processes} `processes`, another host, or a lower rate",
        )


def _host(repetitions: Sequence[Repetition]) -> Iterator[Doubt]:
    steal = [pulse.steal for one in repetitions for pulse in _measured(one)]
    if not steal:
        return
    mean, much = sum(steal) / len(steal), sum(one > _STOLEN_MUCH for one in steal) / len(steal)
    if mean > _STOLEN or much > 0.05:
        yield Doubt(
            what=f"other guests of the host's machine took {mean:.1%} of its time, and more than"
            f" {_STOLEN_MUCH:.0%} in {much:.0%} of the seconds",
            advice="a host of your own, or another hour",
        )


def _late(target: Target, runs: Sequence[TargetRun]) -> Iterator[Doubt]:
    """What the generator sent late or never."""
    unsent = sum(run.unsent for run in runs)
    if unsent:
        yield Doubt(
            what=f"{unsent} requests that were due were never sent",
            advice="more `processes`, more `connections`, another host, or a lower rate",
            target=target.name,
        )
    sent = sum(run.series[LATE].total for run in runs)
    latencies = [one for one in promises(target) if math.isfinite(one.limit_ms)]
    for one in sorted(latencies, key=lambda one: -one.p):
        p, limit = one.p, one.limit_ms
        threshold = max(1.0, limit / 10)
        late = sum(int(run.series[LATE].over(threshold).sum()) for run in runs)
        if late > (1 - p) * sent * (1 + 1e-9):
            yield Doubt(
                what=f"the generator sent {late} of {sent} requests more than {threshold:g} ms"
                f" late, and a p{100 * p:g} of {limit:g} ms can bear {(1 - p) * sent:.0f}",
                advice="more `processes`, another host, or a lower rate",
                target=target.name,
            )
            return


def _offered(target: Target, runs: Sequence[TargetRun], seconds: float) -> Iterator[Doubt]:
    rate = offered(target)
    if rate is None or not isinstance(target.arrivals, Poisson | Constant):
        return
    expected = rate * seconds
    asked = sum(int(run.asked.sum()) + run.unsent for run in runs)
    if abs(asked - expected) > _SIGMAS * math.sqrt(expected):
        yield Doubt(
            what=f"{asked} requests were due in {seconds:g} s, and {rate:g}/s are {expected:.0f}",
            advice="the generator is at fault: more `processes`, another host, or a lower rate",
            target=target.name,
        )


def _server(sla: Sla, repetitions: Sequence[Repetition]) -> Iterator[Doubt]:
    """Where the gateway's own histogram contradicts ours.

    It is of a model and a protocol, so targets that share both are held against it together.
    """
    for one in repetitions:
        groups: dict[tuple[str, bool, tuple[tuple[float, float], ...]], list[TargetRun]] = {}
        for target in sla.target:
            run = one.targets.get(target.name)
            if run is not None and run.server:
                edges = tuple(sorted(run.server.items()))
                key = (target.model, target.wire == "grpc", edges)
                groups.setdefault(key, []).append(run)
        for runs in groups.values():
            where = "" if len(runs) > 1 else runs[0].name
            names = " and ".join(run.name for run in runs)
            for what, advice in _contradictions(runs):
                yield Doubt(
                    what=f"repetition {one.run.number}, {names}: {what}",
                    advice=advice,
                    target=where,
                )


def _contradictions(runs: Sequence[TargetRun]) -> Iterator[tuple[str, str]]:
    server = runs[0].server
    counted = max(server.values())
    right = sum(run.series[LATENCY].total for run in runs)
    failed = sum(int(run.failed.sum()) for run in runs)
    # What is in flight when the measured time begins, the gateway counts, and we do not.
    latency = (pooled(run.series[LATENCY] for run in runs).quantile(0.99) or 0.0) / 1000
    seconds = max((len(run.failed) for run in runs), default=1)
    margin = max(5.0, 0.01 * right, 2 * right / seconds * latency)
    # A wrong answer is one for the gateway and none for us.
    if not right - margin <= counted <= right + failed + margin:
        what = f"the gateway counted {counted:.0f} answers, the generator {right} right ones"
        yield what, "keep others off the gateway; if nobody else calls it, answers were lost"
    edge = _p99_at_least(server)
    longer = counted - server.get(edge, 0.0)
    over = failed + sum(int(run.series[LATENCY].over(edge * 1000).sum()) for run in runs)
    # A few requests lie astride the ends of the measured time.
    ours = min(1.0, (right + failed) / max(counted, 1.0))  # the count of others is no contradiction
    if edge and over + margin < 0.9 * longer * ours:
        what = (
            f"the gateway says that {longer:.0f} answers took longer than {edge * 1000:g} ms,"
            f" the generator saw {over}: it cannot be faster"
        )
        yield what, "check that both speak of one gateway, and the clocks of both"


def _p99_at_least(server: Mapping[float, float]) -> float:
    """The lower edge of the bucket that the p99 lies in, seconds; 0 in the first."""
    edges = np.array(sorted(server))
    counts = np.array([server[edge] for edge in edges])
    place = int(np.searchsorted(counts, 0.99 * counts[-1]))
    return float(edges[place - 1]) if place else 0.0


def _measured(one: Repetition) -> list[Pulse]:
    return [pulse for pulse in one.run.pulses if 0 <= pulse.second < one.run.seconds]
