"""When requests come: seconds from the start of a simulation, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Times: TypeAlias = npt.NDArray[np.float64]
Arrivals: TypeAlias = Callable[[float, float, np.random.Generator], Times]
"""From the mean rate (1/s), the length (s) and the random numbers to the times."""


def poisson(rate: float, seconds: float, random: np.random.Generator) -> Times:
    """Each comes whenever it likes."""
    return np.sort(random.uniform(0.0, seconds, random.poisson(rate * seconds)))


def bursty(size: float) -> Arrivals:
    """Bursts come whenever they like, of geometrically many at once, `size` on average."""

    def times(rate: float, seconds: float, random: np.random.Generator) -> Times:
        starts = poisson(rate / size, seconds, random)
        return np.repeat(starts, random.geometric(1 / size, len(starts)))

    return times


def on_off(on: float, off: float) -> Arrivals:
    """Silence of `off` seconds on average, then Poisson arrivals for `on` seconds on average.

    A Markov-modulated Poisson process of two states, one of them with the rate 0.
    """

    def times(rate: float, seconds: float, random: np.random.Generator) -> Times:
        found, now = [], 0.0
        while now < seconds:
            length = random.exponential(on)
            found.append(now + poisson(rate * (on + off) / on, length, random))
            now += length + random.exponential(off)
        joined = np.concatenate(found)
        return joined[joined < seconds]

    return times


def recorded(at: Sequence[float]) -> Arrivals:
    """As they came once, over and over; slower or faster, so that the rate is the one wanted."""
    one = np.sort(np.asarray(at, np.float64))
    one -= one[0]
    period = float(one[-1]) * len(one) / max(1, len(one) - 1)  # the last is followed by a pause too

    def times(rate: float, seconds: float, random: np.random.Generator) -> Times:
        scale = len(one) / (rate * period)
        turns = np.arange(int(np.ceil(seconds / (period * scale))) + 1)
        shift = random.uniform(0.0, period)  # seeds begin at different places of the recording
        joined: Times = (np.add.outer(turns * period, one).ravel() - shift) * scale
        inside: Times = joined[(joined >= 0) & (joined < seconds)]
        return inside

    return times
