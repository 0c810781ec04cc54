"""One process of the load generator: callers that send when requests are due."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import gevent
import gevent.event

from benchmarks import sla as slas
from benchmarks import trace, workloads
from benchmarks.load import arrivals
from benchmarks.load.grpc_wire import CHANNELS, Channels, GrpcWire
from benchmarks.load.http_wire import HttpWire
from benchmarks.load.pulse import Watch
from benchmarks.load.recorder import Recorder, Timing
from benchmarks.load.wire import Answer, Wire
from benchmarks.result import NO_CONNECTION_FREE
from benchmarks.sla import Sla, Target, Trace

_GC_THRESHOLDS = 50_000, 20, 1_000


class Heard(Protocol):
    """Is told of every request, for Locust's own statistics."""

    def __call__(self, target: Target, answer: Answer, seconds: float) -> None:
        """The target, the answer, and the seconds since the intended send."""


class Schedule:
    """What one process has to send to one target: intended times, ascending.

    Args:
        times: seconds from the beginning of the warm-up.
        until: where the measured time ends, likewise.
    """

    def __init__(self, times: Iterator[float], until: float) -> None:
        self._times = itertools.takewhile(lambda at: at < until, times)
        self.exhausted = False

    def next(self) -> float | None:
        """The next one; None when there are no more."""
        found = next(self._times, None)
        self.exhausted = found is None
        return found


class Generator:
    """Everything that the callers of this process share.

    Args:
        sla: what to send.
        path: of the SLA file.
        url: of the gateway's HTTP.
        grpc_url: of its gRPC, `host:port`.
        heard: is told of every request.

    Raises:
        SlaError: a file that the SLA names cannot be used.
    """

    def __init__(self, sla: Sla, path: Path, url: str, grpc_url: str, heard: Heard) -> None:
        self._sla = sla
        self._url = url
        self._grpc_url = grpc_url
        self._heard = heard
        loaded = [workloads.load(slas.payload_path(t, path), t.model) for t in sla.target]
        self._tolerances = [
            workload.tolerance if target.tolerance is None else target.tolerance
            for workload, target in zip(loaded, sla.target, strict=True)
        ]
        self._prepared = [
            itertools.cycle(workloads.prepare(workload, target))
            for workload, target in zip(loaded, sla.target, strict=True)
        ]
        self._traces = [trace.of(target, path) for target in sla.target]
        self._ids = self._identities()
        self._channels: dict[int, Channels] = {}
        self._schedules: list[Schedule] = []
        self._begun = gevent.event.Event()
        self._over = gevent.event.Event()
        self._until = sla.warmup_seconds + sla.duration_seconds
        self._epoch = 0.0
        self._busy = 0
        self._watch = Watch(0)
        self.worker = 0
        self.recorder = Recorder()
        self.connects: list[float] = []

    def begin(self, worker: int, seed: int, parts: Sequence[Sequence[int] | None]) -> None:
        """Send, from now on, this process's share of the load.

        Args:
            worker: number of this process, from 0.
            seed: of this repetition, the same in all processes.
            parts: of each target's stream, (part, parts); None where others send all of it.
        """
        gc.collect()
        gc.freeze()  # what is there by now need not be walked again and again
        # What lives on are samples, and no cycles: to walk them held up everything for 25 ms.
        gc.set_threshold(*_GC_THRESHOLDS)
        self.worker = worker
        self._schedules = [
            Schedule(arrivals.share(times, *part) if part else iter(()), self._until)
            for times, part in zip(streams(self._sla, seed, self._traces), parts, strict=True)
        ]
        self._watch = Watch(worker)
        self._epoch = perf_counter()
        self._watch.start(self._epoch + self._sla.warmup_seconds)
        self._begun.set()

    def caller(self, index: int) -> Wire:
        """A caller of the target at `index`; its connection is made, if that can be done."""
        target, timeout = self._sla.target[index], self._sla.timeout_seconds
        wire: Wire
        if target.wire == "grpc":
            if index not in self._channels:
                count = min(CHANNELS, slas.connections(target))
                self._channels[index] = Channels(self._grpc_url, count)
            channel = self._channels[index].next()
            wire = GrpcWire(channel, target, timeout, self._ids)
        else:
            wire = HttpWire(self._url, target, timeout, self._ids)
        try:
            self.connects.append(wire.connect())
        except OSError:
            return wire  # each request will say so
        return wire

    def serve(self, index: int, wire: Wire) -> None:
        """Send what is due to a target, over one connection, until nothing more is; then wait."""
        self._begun.wait()
        schedule, prepared = self._schedules[index], self._prepared[index]
        while (intended := schedule.next()) is not None:
            self._busy += 1
            try:
                self._one(index, wire, intended, next(prepared))
            finally:
                self._busy -= 1
        self._over.wait()

    def _one(self, index: int, wire: Wire, intended: float, prepared: workloads.Prepared) -> None:
        free = self._now()
        while (early := intended - self._now()) > 0:
            gevent.sleep(early)
        answer = wire.ask(prepared, self._tolerances[index])
        sent = answer.begun - self._epoch
        timing = Timing(
            intended=intended - self._sla.warmup_seconds,
            late=sent - max(intended, free),
            wait=max(0.0, free - intended),
            service=answer.seconds,
        )
        self.recorder.add(index, timing, answer.fate, answer.text)
        self._heard(self._sla.target[index], answer, timing.latency)

    @property
    def done(self) -> bool:
        """Whether all that was due has been sent and has ended."""
        return (
            bool(self._schedules) and not self._busy and all(s.exhausted for s in self._schedules)
        )

    def _give_up(self) -> None:
        """Count what was due and has found no free connection as failed."""
        for index, schedule in enumerate(self._schedules):
            while (intended := schedule.next()) is not None:
                since = self._now() - intended
                timing = Timing(intended - self._sla.warmup_seconds, 0.0, since, 0.0)
                text = "every connection waited for an answer until the end"
                self.recorder.add(index, timing, NO_CONNECTION_FREE, text)

    def take(self) -> dict[str, Any]:
        """All that was measured since the last call, for a message to another process.

        Where requests wait for a connection when the last of them should have been answered, they
        have failed.
        """
        if self._now() > self._until + self._sla.timeout_seconds:
            self._give_up()
        connects, self.connects = self.connects, []
        pulses = [
            [p.second, p.worker, p.cpu, p.lag_ms, p.gc_ms, p.steal, p.idle]
            for p in self._watch.take()
        ]
        done = self.done  # before the samples are taken: then none is missing
        return {
            "worker": self.worker,
            "done": done,
            "connects": connects,
            "pulses": pulses,
            **self.recorder.take(),
        }

    def stop(self) -> None:
        """Let go of everything."""
        self._watch.stop()
        self._over.set()
        for channels in self._channels.values():
            channels.close()

    def _identities(self) -> Iterator[str]:
        for number in itertools.count(1):
            yield workloads.identity(self.worker, number)

    def _now(self) -> float:
        return perf_counter() - self._epoch


def streams(sla: Sla, seed: int, traces: Sequence[Sequence[float]]) -> list[Iterator[float]]:
    """The intended times of each target, from the beginning of the warm-up; all workers' together.

    Args:
        sla: the targets.
        seed: of the repetition.
        traces: by target; empty where its process is none.
    """
    found = []
    for index, (target, recorded) in enumerate(zip(sla.target, traces, strict=True)):
        times = arrivals.times(target, seed * 1_000 + index, recorded)
        # A staircase, a burst or a trace begins with the measured time, not with the warm-up.
        if not isinstance(target.arrivals, slas.Poisson | slas.Constant):
            warm = arrivals.times(_steady(target, recorded), seed * 1_000 + 500 + index)
            times = _after(warm, times, sla.warmup_seconds)
        found.append(times)
    return found


def _steady(target: Target, trace: Sequence[float]) -> Target:
    """The same target at its mean rate, for the warm-up."""
    if isinstance(target.arrivals, Trace):
        rate = (len(trace) - 1) / (trace[-1] - trace[0]) * target.arrivals.speed
        return slas.with_rate(target, rate)
    return slas.with_rate(target, slas.offered(target) or 1.0)


def _after(first: Iterator[float], then: Iterator[float], seconds: float) -> Iterator[float]:
    yield from itertools.takewhile(lambda at: at < seconds, first)
    yield from (seconds + at for at in then)
