"""One simulation: requests come, batches leave, the engine computes, and everybody ends once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from heapq import heappop, heappush
from itertools import count

import numpy as np

from service.batching.member import Batch, Member
from service.batching.schedule import Cut
from service.errors import LupineError
from service.protocol.messages import Servable
from service.simulator.arrivals import Arrivals, poisson
from service.simulator.doors import Door
from service.simulator.engine import Engine, EngineModel
from service.simulator.queues import Making

_TICK = 1e-4
"""Seconds: a timer cannot tell less apart, and virtual time must get on."""

_MODEL = Servable(name="m", version="1", platform="", max_batch_size=1, inputs={}, outputs={})


class Fate(Enum):
    """How a request ends."""

    ANSWERED = "answered"
    REFUSED = "refused"  # at the door
    DROPPED = "dropped"  # at the cut, having waited
    EXPIRED = "expired"  # its deadline passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated.

    Args:
        engine: before which the gateways stand.
        load: of the engine's capacity before any drift, how much is asked.
        slo: seconds.
        seconds: that requests come.
        warm: first seconds that do not count.
        arrivals: when requests come.
        rows: how many a request has, drawn evenly.
        priorities: which a request has, drawn evenly.
        deadline: seconds after which nobody waits.
        callers: the share of the requests that each sends, numbered from 1; none: all stand for
            themselves.
        gateways: the share of the requests that each gets.
    """

    engine: EngineModel
    load: float
    slo: float
    seconds: float = 20.0
    warm: float = 2.0
    arrivals: Arrivals = poisson
    rows: Sequence[int] = (1,)
    priorities: Sequence[int] = (1,)
    deadline: float = math.inf
    callers: Sequence[float] = ()
    gateways: Sequence[float] = (1.0,)


@dataclass(slots=True)
class Ended:
    """A request at its end.

    Args:
        came: seconds from the start.
        at: when it ended.
        fate: how.
        rows: that it had.
        priority: that it had.
        retry_after: seconds that a refusal named.
        caller: who sent it.
    """

    came: float
    at: float
    fate: Fate
    rows: int
    priority: int
    retry_after: float | None = None
    caller: int = 0


@dataclass(slots=True)
class History:
    """What happened.

    Args:
        scenario: that was run.
        ended: every request.
        batches: the time at which each was sent, and its rows.
        idle: seconds of instances that had nothing to do while somebody waited.
    """

    scenario: Scenario
    ended: list[Ended] = field(default_factory=list)
    batches: list[tuple[float, int]] = field(default_factory=list)
    idle: float = 0.0


class _Simulation:
    def __init__(self, scenario: Scenario, making: Making, door: Door, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.engine = Engine(scenario.engine, np.random.default_rng(seed + 1))
        self.door = door
        self.transit = scenario.engine.transit
        self.queues = [
            making(scenario.engine, scenario.slo, len(scenario.gateways)) for _ in scenario.gateways
        ]
        self.timers = [math.inf] * len(self.queues)
        self.open: dict[Member, int] = {}  # and the gateway where each is
        self.of: dict[Batch, int] = {}
        self.events: list[tuple[float, int, str, object]] = []
        self.order = count()
        self.history = History(scenario)
        self.now = 0.0

    def run(self) -> History:
        scenario, random = self.history.scenario, self.random
        mean_rows = sum(scenario.rows) / len(scenario.rows)
        rate = scenario.load * scenario.engine.capacity(0.0, 1e-9) / mean_rows
        for at in scenario.arrivals(rate, scenario.seconds, random):
            self._at(float(at), "comes", int(random.choice(len(self.queues), p=scenario.gateways)))
        while self.events:
            at, _, kind, what = heappop(self.events)
            if any(queue.waiting for queue in self.queues):
                self.history.idle += self.engine.free * (at - self.now)
            self.now = at
            getattr(self, f"_{kind}")(what)
        return self.history

    def _at(self, at: float, kind: str, what: object) -> None:
        heappush(self.events, (at, next(self.order), kind, what))

    def _comes(self, gateway: int) -> None:
        scenario, now = self.history.scenario, self.now
        member = Member(
            servable=_MODEL,
            inputs={},
            outputs=(),
            rows=scenario.rows[int(self.random.integers(len(scenario.rows)))],
            parameters={},
            deadline=now + scenario.deadline,
            until=now + scenario.slo,
            priority=scenario.priorities[int(self.random.integers(len(scenario.priorities)))],
            caller=self._caller(),
            answer=lambda _: None,
            queued=now,
        )
        self.open[member] = gateway
        queue = self.queues[gateway]
        try:
            self.door(queue, member, now)
        except LupineError as error:
            self._end(member, Fate.REFUSED, error.retry_after)
            return
        queue.join(member)
        if member.deadline < math.inf:
            self._at(member.deadline, "expires", member)
        # At the end of the turn: what comes at the same moment goes together.
        self._at(now, "looks", gateway)

    def _caller(self) -> int:
        shares = self.history.scenario.callers
        return 1 + int(self.random.choice(len(shares), p=shares)) if shares else 0

    def _looks(self, gateway: int) -> None:
        queue, now = self.queues[gateway], self.now
        while isinstance(decision := queue.decide(now), Cut):
            for member in decision.late:
                self._end(member, Fate.EXPIRED if member.deadline <= now else Fate.DROPPED)
            if decision.members:
                batch = queue.send(decision.members, now)
                for member in batch.members:
                    member.batch = batch
                self.of[batch] = gateway
                self.history.batches.append((now, batch.rows))
                self._at(now + self.transit, "arrives", batch)
        self.timers[gateway] = at = now + max(decision, _TICK)
        if at < math.inf:
            self._at(at, "timer", gateway)

    def _timer(self, gateway: int) -> None:
        if self.timers[gateway] <= self.now:  # else it was set anew
            self.timers[gateway] = math.inf
            self._looks(gateway)

    def _arrives(self, batch: Batch) -> None:
        self._begin(self.engine.take(batch))

    def _begin(self, batch: Batch | None) -> None:
        if batch is not None:
            took = self.engine.seconds(batch.rows, self.now)
            self._at(self.now + took, "computed", batch)

    def _computed(self, batch: Batch) -> None:
        self._at(self.now + self.transit, "heard", batch)
        self._begin(self.engine.end())

    def _heard(self, batch: Batch) -> None:
        gateway = self.of.pop(batch)
        self.queues[gateway].ended(batch, self.now)
        for member in batch.members:
            if member in self.open:
                self._end(member, Fate.ANSWERED)
        self._looks(gateway)

    def _expires(self, member: Member) -> None:
        if member in self.open:
            if member.batch is None:
                self.queues[self.open[member]].leave(member)
            self._end(member, Fate.EXPIRED)

    def _end(self, member: Member, fate: Fate, retry_after: float | None = None) -> None:
        del self.open[member]
        self.history.ended.append(
            Ended(
                member.queued,
                self.now,
                fate,
                member.rows,
                member.priority,
                retry_after,
                member.caller,
            )
        )
        member.close()


def run(scenario: Scenario, making: Making, door: Door, seed: int = 1) -> History:
    """Simulate until everybody has ended.

    Args:
        scenario: what.
        making: a queue for each gateway.
        door: before each queue.
        seed: of arrivals and noise; the same gives the same.
    """
    return _Simulation(scenario, making, door, seed).run()
