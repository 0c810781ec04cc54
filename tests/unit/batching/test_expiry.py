from __future__ import annotations

import asyncio
import math
import time

from service.batching.expiry import Expiry


async def test_each_is_told_when_its_deadline_has_passed_and_never_before() -> None:
    """In whatever order they came."""
    told: list[tuple[float, float]] = []
    expiry: Expiry[float] = Expiry(lambda due: told.append((due, time.monotonic())))
    now = time.monotonic()
    for wait in (0.05, 0.01, 0.03, -1.0):
        expiry.watch(now + wait, now + wait, now)
    await asyncio.sleep(0.15)
    assert [due for due, _ in told] == sorted(due for due, _ in told)
    assert len(told) == 4
    assert all(due <= at for due, at in told)


async def test_who_is_forgotten_is_not_told() -> None:
    """Answered in time."""
    told: list[str] = []
    expiry: Expiry[str] = Expiry(told.append)
    now = time.monotonic()
    bucket = expiry.watch("answered", now + 0.01, now)
    expiry.watch("late", now + 0.01, now)
    assert bucket is not None
    del bucket["answered"]
    await asyncio.sleep(0.05)
    assert told == ["late"]


async def test_who_waits_for_ever_is_not_watched() -> None:
    """And a deadline beyond all clocks is none that fails."""
    expiry: Expiry[str] = Expiry(lambda _: None)
    now = time.monotonic()
    assert expiry.watch("patient", math.inf, now) is None
    expiry.watch("next century", now + 3e9, now)


async def test_many_deadlines_make_few_moments_to_look_at() -> None:
    """One timer, and long waits share a moment."""
    expiry: Expiry[int] = Expiry(lambda _: None)
    now = time.monotonic()
    for number in range(10_000):
        expiry.watch(number, now + 30 + number / 10_000, now)
    assert len(expiry._buckets) < 12
