"""The state of one queue, and all that is decided of it. Pure: time is an argument.

`queue.py` does what is decided here, with an engine and a clock; the simulator does the same with
neither.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.batching.cost import CostCurve
from service.batching.line import Kind, Line
from service.batching.member import Batch, Member
from service.batching.policy import LEAD, Limits, Moment, release

_SHORT_SECONDS = 0.005
_RECENT = 8  # batches


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a request that came now would meet, in seconds; 0 where nothing is known yet.

    Args:
        wait: until the engine begins with it.
        service: from then to its answer, hardly more.
        least: no run of it was faster, of the last ones.
        alone: what its own rows usually take, with no others; 0 too where it need not wait.
    """

    wait: float = 0.0
    service: float = 0.0
    least: float = 0.0
    alone: float = 0.0


@dataclass(frozen=True, slots=True)
class Cut:
    """What leaves the line now.

    Args:
        members: of the batch; none, if an answer would reach nobody in time.
        reason: one of `policy.REASONS`.
        late: who waited in vain.
    """

    members: Sequence[Member]
    reason: str
    late: Sequence[Member]


class Schedule:
    """Who waits, what runs, what runs cost, and what follows from it.

    Args:
        rows: that the model takes at most in a batch.
        instances: of the engine. What a worker sent beyond its part of them would wait there behind
            the batches of other workers, and nobody could tell how long.
        in_flight: batches that may be in the engine, at most.
        size: bytes of a batch's inputs, at most.
        workers: how many share the engine, each with a schedule of its own.
    """

    def __init__(
        self,
        *,
        rows: int,
        instances: int,
        in_flight: int,
        size: float = math.inf,
        workers: int = 1,
    ) -> None:
        self.cost = CostCurve()  # of a run, from when the engine begins with it
        self.line = Line()
        self.running: dict[Batch, None] = {}  # in the order in which they were sent
        self._rows = rows
        self._instances = max(1, round(instances / workers))
        self._in_flight = in_flight
        self._size = size
        self._recent: deque[int] = deque([0], maxlen=_RECENT)  # rows of the last batches
        self.limits = self._limits(rows)

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nothing runs."""
        return not (self.line.members or self.running)

    # ------------------------------------------------------------------ who comes

    def forecast(self, rows: int, priority: int, now: float, caller: int = 0) -> Forecast:
        """What a request of so many rows, by this caller, would meet if it joined now."""
        wait, own = 0.0, rows
        if len(self.running) >= self._instances:
            wait = sum(self._left(batch, now) for batch in self.running) / self._instances
        if self.line.members:
            ahead = self.line.rows_ahead(priority, caller)
            full = self.limits.rows
            wait += self.cost.usual(full) * (ahead // full) / self._instances
            # Whole batches go first. By its turn, its own will have filled up behind it, as far as
            # others did.
            rows = max(rows, min(full, max(ahead % full + rows, *self._recent)))
        return Forecast(
            wait,
            self.cost.seconds(rows),
            self.cost.least(own),
            self.cost.usual(own) if wait else 0.0,  # asked for each request, and seldom needed
        )

    # ------------------------------------------------------------------ who leaves

    def decide(self, now: float) -> Cut | float:
        """The batch to send now, or the seconds to wait; infinite: until something happens."""
        if not self.line.members:
            return math.inf
        kind = self.line.next_kind()
        decision = release(self._moment(kind, now), self.limits)
        if not isinstance(decision, str):
            return decision
        members, late = self.line.take(
            kind, self.limits.rows, self.limits.size, lambda member: self.in_vain(member, now)
        )
        return Cut(members, decision, late)

    def _moment(self, kind: Kind, now: float) -> Moment:
        rows = min(self.line.rows_of(kind), self.limits.rows)
        in_flight = len(self.running)
        full = rows == self.limits.rows or self.limits.size < math.inf  # in bytes it might be
        if self.limits.shut(in_flight, full=full):
            return Moment(rows, False, 0.0, 0.0, in_flight, 0.0, 0.0)  # noqa: FBT003 - no other matters
        more, age, left, total, size = False, 0.0, math.inf, 0, 0
        busy = self._busy(now)
        for member in self.line.of(kind):
            size += member.size
            if total + member.rows > self.limits.rows or (size > self.limits.size and total):
                more, rows = True, total
                break
            total += member.rows
            if in_flight and busy > 0:
                age = max(age, now - member.queued)
                left = min(left, member.deadline - now, member.until - now)
        return Moment(rows, more, age, left, in_flight, busy, self.cost.seconds(rows))

    def in_vain(self, member: Member, now: float) -> bool:
        """Whether no answer would reach it in time: nothing is computed for it.

        Waiting may cost a member its SLO; one that hardly waited is served anyhow.
        """
        if member.deadline <= now:
            return True
        if member.until == math.inf:
            return False
        promised = member.until - member.queued
        waited = now - member.queued
        return waited > promised / 4 and now + self.cost.seconds(member.rows) > member.until

    # ------------------------------------------------------------------ what runs

    def send(self, members: Iterable[Member], now: float) -> Batch:
        """They go to the engine together, which begins at once if it has an instance free."""
        members = tuple(members)
        begins = len(self.running) < self._instances
        batch = Batch(members, sum(member.rows for member in members), now if begins else None)
        for member in members:
            member.batch = batch
        self.running[batch] = None
        self._recent.append(batch.rows)
        return batch

    def learn(self, batch: Batch, now: float) -> None:
        """The engine answered a batch, at this time."""
        if batch.started is None:  # it overtook another, and tells nothing
            return
        if not self.cost.learn(batch.rows, now - batch.started):
            return
        self.limits = self._limits(self.cost.worthwhile(self._rows, _SHORT_SECONDS))

    def ended(self, batch: Batch, now: float) -> bool:
        """The engine is done with a batch; whether it was not known to be."""
        if batch not in self.running:
            return False
        del self.running[batch]
        for following in self.running:
            if following.started is None:
                following.started = now
                break
        return True

    def _left(self, batch: Batch, now: float) -> float:
        """Seconds that the engine still has to do for a batch."""
        whole = self.cost.usual(batch.rows)
        return whole if batch.started is None else max(0.0, whole - (now - batch.started))

    def _busy(self, now: float) -> float:
        """Seconds until the engine could begin with another batch."""
        begun = [batch for batch in self.running if batch.started is not None]
        if len(begun) < self._instances:
            return 0.0
        return min(self._left(batch, now) for batch in begun)

    def _limits(self, rows: int) -> Limits:
        """For batches of so many rows.

        While a short one is answered and the next is cut and sent, an engine without another
        would be idle for much of its time.
        """
        seconds = self.cost.usual(rows)
        most = min(self._instances + (seconds < _SHORT_SECONDS), self._in_flight)
        eager = min(self._instances + (2 * LEAD <= seconds < _SHORT_SECONDS), most)
        return Limits(rows, most, eager, size=self._size)
