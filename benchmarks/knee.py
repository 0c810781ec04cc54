"""Where a gateway's capacity ends: the search for it, and what it means. Pure.

A load is *sustained* when its p99 keeps the limit, at most 1 % fails, and the generator is well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

_GROWTH = 1.6  # from one step to the next
_CLOSE = 1.12  # the knee is found when the steps around it are so close
_MOST_STEPS = 24
_FULL = 0.8  # of max_batch_size
_ALONE = 2.0  # rows: fewer is hardly a batch
_IDLE = 0.3  # of the host
HEADROOM = 0.7
"""Share of the sustained rate that a replica should be planned with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be known.

    Args:
        target: a name in the SLA; empty for the first.
        users: to be served.
        think_seconds: each asks once in so long.
        step_seconds: how long each load is held.
    """

    target: str
    users: int
    think_seconds: float
    step_seconds: float


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One load, and what became of it.

    Args:
        rate: offered, requests a second.
        answered: right answers a second.
        p50_ms: of all requests; None where more failed than answered.
        p99_ms: likewise.
        failed: requests.
        sustained: whether it kept the promise.
        doubt: why the generator is to blame; empty where it is not.
        batch_rows: mean rows of a batch; 0 where the gateway does not tell.
        idle: mean share of the host that was idle.
    """

    rate: float
    answered: float
    p50_ms: float | None
    p99_ms: float | None
    failed: int
    sustained: bool
    doubt: str
    batch_rows: float
    idle: float


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Args:
        target: the target's name.
        limit_ms: of its p99.
        sustained: requests a second; 0 where not even the lowest load was.
        breaks_at: the lowest load that was not sustained; None where the generator gave up first.
        steps: in the order of the rate.
        users: to be served.
        think_seconds: of each.
        replicas: how many gateways like this one they need; None where none would do.
        advice: what to change for more.
        answer: the sentence that is asked for.
    """

    target: str
    limit_ms: float
    sustained: float
    breaks_at: float | None
    steps: tuple[Step, ...]
    users: int
    think_seconds: float
    replicas: int | None
    advice: tuple[str, ...]
    answer: str


def search(hold: Callable[[float], Step], start: float) -> list[Step]:
    """Raise the load until it is not sustained, then halve the distance, by ratio.

    Args:
        hold: holds a load and tells of it.
        start: requests a second; where they are too many, the search goes down.
    """
    steps = [hold(start)]
    good = start if steps[0].sustained else 0.0
    bad = 0.0 if steps[0].sustained else start
    while len(steps) < _MOST_STEPS and not (bad and good and bad / good <= _CLOSE):
        if not bad:
            rate = good * _GROWTH
        elif not good:
            rate = bad / _GROWTH
            if rate < 1:
                break
        else:
            rate = math.sqrt(good * bad)
        step = hold(rate)
        steps.append(step)
        if step.sustained:
            good = rate
        elif step.doubt and not broke(step):
            break  # the generator's own knee: nothing is known beyond it
        else:
            bad = rate
    return sorted(steps, key=lambda one: one.rate)


def conclude(
    name: str, limit: float, steps: Sequence[Step], asked: Asked, most_rows: int = 0
) -> Capacity:
    """What the steps say.

    Args:
        name: of the target.
        limit: of its p99, milliseconds.
        steps: of the search.
        asked: what is to be known.
        most_rows: the model's max_batch_size; 0 where it has none.
    """
    good = [step for step in steps if step.sustained]
    bad = [step for step in steps if not step.sustained and (not step.doubt or broke(step))]
    sustained = max((step.rate for step in good), default=0.0)
    breaks = min((step.rate for step in bad if step.rate > sustained), default=None)
    wanted = asked.users / asked.think_seconds
    replicas = math.ceil(wanted / (sustained * HEADROOM)) if sustained else None
    users = f"{asked.users:,} users at one request each {asked.think_seconds:g} s"
    if replicas is None and breaks is None:
        answer = f"{name}: the load generator gave up before anything could be said of the gateway."
    elif replicas is None:
        answer = (
            f"{name}: not even {min(s.rate for s in steps):.0f} requests/s keep p99 ≤ {limit:g} ms."
        )
    else:
        at_least = "" if breaks is not None else "at least "
        answer = (
            f"{name}: this host sustains {at_least}{sustained:.0f} requests/s "
            f"with p99 ≤ {limit:g} ms; {users} ({wanted:.0f} requests/s) need {replicas} "
            f"replica{'s' if replicas > 1 else ''} at {HEADROOM:.0%} of that."
        )
    return Capacity(
        target=name,
        limit_ms=limit,
        sustained=sustained,
        breaks_at=breaks,
        steps=tuple(steps),
        users=asked.users,
        think_seconds=asked.think_seconds,
        replicas=replicas,
        advice=tuple(_advice(steps, sustained, breaks, most_rows)),
        answer=answer,
    )


def _advice(steps: Sequence[Step], sustained: float, breaks: float | None, most: int) -> list[str]:
    found = []
    if breaks is None:
        doubts = [step.doubt for step in steps if step.doubt]
        what = f": {doubts[-1]}" if doubts else ""
        found.append(f"The generator gave up before the gateway did{what}.")
        if not sustained:
            return found
    knee = max((s for s in steps if s.rate <= (breaks or sustained)), key=lambda s: s.rate)
    if knee.batch_rows and most > 1:
        if knee.batch_rows >= _FULL * most:
            found.append(
                f"Batches are full at the knee ({knee.batch_rows:.1f} of {most} rows): "
                "try a larger max_batch_size."
            )
        elif knee.batch_rows < _ALONE:
            found.append(
                f"Batches hold {knee.batch_rows:.1f} rows at the knee: a row costs nearly as much "
                "as a batch, or little of the load comes together. Faster rows help, not batching."
            )
    if knee.idle > _IDLE:
        found.append(
            f"{knee.idle:.0%} of the host is idle at the knee: try one more instance in the "
            "model's instance_group, or one more worker."
        )
    else:
        found.append(
            f"The host is busy at the knee ({1 - knee.idle:.0%}, the load generator included where "
            "it runs here): more replicas, on hosts of their own."
        )
    return found


def mean(histogram: Mapping[float, float]) -> float:
    """The mean of a cumulative histogram whose values lie at the middle of their buckets."""
    edges = sorted(edge for edge in histogram if math.isfinite(edge))
    total, below, last = 0.0, 0.0, 0.0
    for edge in edges:
        count = histogram[edge] - below
        total += count * (edge if edge - last <= 1 else (last + edge) / 2)
        below, last = histogram[edge], edge
    return total / below if below else 0.0


def broke(step: Step) -> bool:
    """Whether the gateway is to blame whatever the generator did: it failed requests."""
    return step.failed > 0
