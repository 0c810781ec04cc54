"""When requests are due: streams of intended times, decided by a seed alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.sla import Bursts, Constant, Poisson, Steps, Target, Trace, offered

_CHUNK = 512


def times(target: Target, seed: int, trace: Sequence[float] = ()) -> Iterator[float]:
    """The intended times of all requests of a target, ascending, without end, in seconds from 0.

    Args:
        target: whose process and rate count.
        seed: two streams with one seed are the same.
        trace: recorded times, ascending, where the process is one.
    """
    rate = offered(target) or 0.0
    match target.arrivals:
        case Constant():
            return (i / rate for i in itertools.count())
        case Trace(speed=speed):
            return _repeated(trace, speed)
        case Poisson():
            return _poisson([(1.0, rate)], seed)
        case Bursts(on_seconds=on, every_seconds=every):
            return _poisson([(on, rate * every / on), (every - on, 0.0)], seed)
        case Steps(steps=steps):
            return _poisson([(step.seconds, rate * step.factor) for step in steps], seed)


def share(whole: Iterator[float], part: int, parts: int) -> Iterator[float]:
    """One of several parts of a stream; together they are all of it, and nothing is in two."""
    return itertools.islice(whole, part, None, parts)


def parts(callers: Sequence[int]) -> list[tuple[int, int] | None]:
    """Which part of a target's stream each generator process sends, as `share` takes it.

    Args:
        callers: how many of the target's callers each process has; without one it sends nothing.

    Returns:
        For each process (part, parts), or None where it sends nothing.
    """
    able = [process for process, count in enumerate(callers) if count]
    return [
        (able.index(process), len(able)) if count else None for process, count in enumerate(callers)
    ]


def _poisson(profile: Sequence[tuple[float, float]], seed: int) -> Iterator[float]:
    """A Poisson process whose rate follows a periodic profile of (seconds, rate).

    By time change: a process of rate 1, read along the integral of the rate. Source: Cinlar,
    Introduction to Stochastic Processes, 1975, chapter 4.
    """
    random = np.random.default_rng(seed)
    units = itertools.chain.from_iterable(
        random.exponential(size=_CHUNK).tolist() for _ in itertools.repeat(None)
    )
    begin = 0.0  # of the phase
    left = next(units)  # of the integral, until the next arrival
    for seconds, rate in itertools.cycle(profile):
        at = begin
        while rate and (due := at + left / rate) <= begin + seconds:
            yield due
            at, left = due, next(units)
        left -= rate * (begin + seconds - at)
        begin += seconds


def _repeated(trace: Sequence[float], speed: float) -> Iterator[float]:
    gaps = len(trace) - 1
    first, length = trace[0], trace[-1] - trace[0]
    period = length + length / gaps  # the repetition follows after a mean gap
    for turn in itertools.count():
        for at in trace:
            yield (turn * period + at - first) / speed
