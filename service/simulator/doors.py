"""Who may enter, in the simulator: everybody, so many, or whom the learned cost lets in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from service import admission
from service.admission import Promise
from service.batching.member import Member
from service.errors import ShedError
from service.simulator.queues import Ours, Queue

Door: TypeAlias = Callable[[Queue, Member, float], None]
"""Raises what the member is told if it may not join the queue at that moment."""


def everybody(queue: Queue, member: Member, now: float) -> None:
    """No admission."""


def limit(most: int) -> Door:
    """A plain limit on those who wait or are computed."""

    def door(queue: Queue, member: Member, now: float) -> None:  # noqa: ARG001 - it sees the number alone
        if queue.inside >= most:
            raise ShedError("its limit", reason="permits")

    return door


def learned(margin: float = admission.MARGIN) -> Door:
    """What the gateway does, with its share of the promise or another."""

    def door(queue: Queue, member: Member, now: float) -> None:
        if not isinstance(queue, Ours):
            raise TypeError("only the gateway's own schedule can forecast")
        forecast = queue.schedule.forecast(member.rows, member.priority, now, member.caller)
        promise = Promise(deadline=member.deadline - now, slo=member.until - now)
        admission.check("m", promise, forecast, margin)

    return door
