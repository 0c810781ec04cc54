"""Simulated and real runs with a planted p99, judged against promises below, at and above it.

A verdict is worth what its wrong PASS rate is. Latencies are lognormal with a p99 of 50 ms; in some
runs each is drawn by itself, in others it follows a hidden load that wanders for seconds (a
Gaussian copula over an Ornstein-Uhlenbeck process), so that slow answers come in runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.progress import track
from scipy import signal, special

from benchmarks.harness import planted, scale
from benchmarks.harness.record import Evidence
from benchmarks.result import Pulse, Repetition, Run, TargetRun
from benchmarks.series import LATENCY, TAGS, Counts, Series
from benchmarks.sla import Limits, Sla, Target
from benchmarks.verdict import Outcome, judge

_RUNS = 1000
_PLANTED_MS = 50.0
_LIMITS_MS = (45.0, 50.0, 55.0)
_WRONG = 0.05  # the promise: one minus the confidence
_SIGMA = 0.5  # of the latencies' logarithm: p99 is 3.2 times p50
_RATE = 100.0
_TARGET = "simulated"
_BUCKET_BITS = 11  # of HdrHistogram with three digits: 2048 buckets to an octave and below


@dataclass(frozen=True, slots=True)
class Kind:
    """How the latencies of a run hang together.

    Args:
        name: for the table.
        seconds: after which the hidden load's correlation has fallen to 1/e.
        share: of the variance (of the logarithm) that the hidden load makes.
    """

    name: str
    seconds: float = 1.0
    share: float = 0.0


_KINDS = (
    Kind("independent"),
    Kind("runs of 1 s, half hidden load", 1.0, 0.5),
    Kind("runs of 1 s, all hidden load", 1.0, 1.0),
    Kind("runs of 5 s, 30 % hidden load", 5.0, 0.3),
    Kind("runs of 5 s, all hidden load", 5.0, 1.0),
)


def main() -> int:
    """Simulate, judge, print and record."""
    evidence = Evidence("verdict", "simulated runs; real ones: echo, which sleeps as it is told")
    scale.tell(evidence)
    simulated(evidence)
    planted.real(evidence, _PLANTED_MS, _LIMITS_MS)
    return evidence.finish()


def simulated(evidence: Evidence) -> None:
    """How often each verdict is given where the truth is known."""
    runs = scale.times(_RUNS)
    slas = {limit: _sla(limit) for limit in _LIMITS_MS}
    for place, kind in enumerate(_KINDS):
        tallies: dict[float, Counter[Outcome]] = {limit: Counter() for limit in _LIMITS_MS}
        for run in track(range(runs), kind.name, transient=True):
            measured = list(_repetitions(kind, np.random.default_rng((place, run))))
            for limit, sla in slas.items():
                tallies[limit][judge(sla, measured).outcome] += 1
        for limit, told in tallies.items():
            _add(evidence, kind, limit, told)
    evidence.raw["model"] = {
        "rate": _RATE, "sigma": _SIGMA, "planted_p99_ms": _PLANTED_MS,
        "seconds": slas[_PLANTED_MS].duration_seconds, "repetitions": slas[_PLANTED_MS].repetitions,
    }  # fmt: skip


def _add(evidence: Evidence, kind: Kind, limit: float, told: Counter[Outcome]) -> None:
    """A row: at the planted p99 itself the promise is just kept, and yet a PASS must be rare."""
    runs = told.total()
    rates = {outcome: told[outcome] / runs for outcome in Outcome}
    wrong = [Outcome.PASS] if limit <= _PLANTED_MS else []
    wrong += [Outcome.FAIL] if limit >= _PLANTED_MS else []
    evidence.add(
        f"p99 {_PLANTED_MS:g} ms, limit {limit:g} ms, {kind.name}; {runs} runs",
        ", ".join(f"{outcome} {rate:.1%}" for outcome, rate in rates.items()),
        f"{' and '.join(wrong)} ≤ {_WRONG:.0%}",
        holds=all(rates[outcome] <= _WRONG for outcome in wrong),
    )
    evidence.raw[f"{kind.name}; limit {limit:g} ms"] = {str(o): told[o] for o in Outcome}


def _sla(limit: float) -> Sla:
    limits = Limits(p99_ms=limit)
    return Sla(target=(Target(name=_TARGET, model=_TARGET, limits=limits, rate=_RATE),))


def _repetitions(kind: Kind, random: np.random.Generator) -> Iterator[Repetition]:
    sla = _sla(_PLANTED_MS)
    for number in range(1, sla.repetitions + 1):
        seconds = int(sla.duration_seconds)
        at = np.sort(random.uniform(0, seconds, random.poisson(seconds * _RATE)))
        scores = _scores(kind, at, seconds, random)
        millis = _PLANTED_MS * np.exp(_SIGMA * (scores - special.ndtri(0.99)))
        yield _repetition(number, seconds, at.astype(np.int64), millis)


def _scores(kind: Kind, at: np.ndarray, seconds: int, random: np.random.Generator) -> np.ndarray:
    """Standard normal, one for each arrival; the hidden load is read every 10 ms."""
    own = random.standard_normal(len(at))
    if not kind.share:
        return own
    step = 0.01
    keep = math.exp(-step / kind.seconds)
    noise = random.standard_normal(math.ceil(seconds / step))
    noise[1:] *= math.sqrt(1 - keep * keep)  # so that it is stationary from the first on
    load = signal.lfilter([1.0], [1.0, -keep], noise)[(at / step).astype(np.int64)]
    return np.asarray(math.sqrt(kind.share) * load + math.sqrt(1 - kind.share) * own)


def _repetition(number: int, seconds: int, second: Counts, millis: np.ndarray) -> Repetition:
    micros = np.maximum(millis * 1000, 1).astype(np.int64)
    shift = np.maximum(np.frexp(micros)[1] - _BUCKET_BITS, 0)
    values, place = np.unique((((micros >> shift) + 1) << shift) - 1, return_inverse=True)
    counts = np.bincount(second * len(values) + place, minlength=seconds * len(values))
    nothing = Series(values=values[:0], counts=np.zeros((seconds, 0), np.int64))
    latency = Series(values=values, counts=counts.reshape(seconds, len(values)))
    target = TargetRun(
        name=_TARGET,
        series=dict.fromkeys(TAGS, nothing) | {LATENCY: latency},
        failed=np.zeros(seconds, np.int64),
        failures={},
        examples=(),
        unsent=0,
        server={},
        server_batches={},
        server_queue={},
    )
    pulses = tuple(
        Pulse(second=i, worker=0, cpu=0.1, lag_ms=0.0, gc_ms=0.0, steal=0.0, idle=0.9)
        for i in range(seconds)
    )
    run = Run(
        number=number,
        seed=number,
        began="2026-01-01T00:00:00Z",
        seconds=float(seconds),
        workers=1,
        complete=True,
        problem="",
        pulses=pulses,
        connect_ms=(),
        targets={},
    )
    return Repetition(run=run, targets={_TARGET: target})
