"""When to cut a batch, and why. Pure.

An engine that is idle gets what there is at once: nobody waits for company. While it is busy, what
arrives gathers, because a larger batch is cheaper for each of its rows; the next batch leaves just
before the engine is done with the last one, or earlier where a promise would be broken. Where a run
is about as short as a timer can tell, it leaves when the engine is done: a batch costs more than
the engine's pause. Only one that is full goes ahead of that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FULL, IDLE_ENGINE, DEADLINE, AGE = "full", "idle_engine", "deadline", "age"
REASONS = (FULL, IDLE_ENGINE, DEADLINE, AGE)

LEAD = 0.001
"""Seconds from a batch's cut to its arrival at the engine; a timer cannot tell less apart."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a batch may be, and how long anyone is held back.

    Args:
        rows: of one batch.
        in_flight: batches that the engine may have at once.
        eager: of which this many may have left before they were full.
        age: seconds that a request is held back at most while a batch may leave.
        size: bytes of the inputs of one batch; a single request may have more.
    """

    rows: int
    in_flight: int
    eager: int
    age: float = 0.05
    size: float = math.inf

    def shut(self, in_flight: int, *, full: bool) -> bool:
        """Whether the engine has too many batches already to be given another one."""
        return in_flight >= (self.in_flight if full else self.eager)


@dataclass(frozen=True, slots=True)
class Moment:
    """What can be known when it is decided.

    Args:
        rows: that wait and may share a batch.
        more: whether somebody waits who does not fit into this batch.
        age: seconds that the oldest of them has waited.
        left: seconds until the tightest promise to one of them is broken; infinite without any.
        in_flight: batches in the engine.
        busy: seconds until the engine will be done with them, as far as is known.
        cost: seconds that a batch of these rows will take, as far as is known.
    """

    rows: int
    more: bool
    age: float
    left: float
    in_flight: int
    busy: float
    cost: float


def release(moment: Moment, limits: Limits) -> str | float:
    """The reason to cut a batch now, or the seconds to wait; infinite: until something happens."""
    full = moment.more or moment.rows >= limits.rows
    if limits.shut(moment.in_flight, full=full):
        return math.inf
    if full:
        return FULL
    idle_in = moment.busy - LEAD
    if moment.in_flight == 0 or idle_in <= 0:
        return IDLE_ENGINE
    # Cut now or when the engine is free, it is computed after what is there; but a timer may be
    # late, and the estimate wrong: a promise that is near takes its place in the engine's queue.
    slack = moment.left - moment.busy - moment.cost
    if slack <= LEAD:
        return DEADLINE
    patience = limits.age - moment.age
    if patience <= 0:
        return AGE
    return min(idle_in, slack - LEAD, patience)
