"""What the batcher does for deadlines, SLOs and priorities, and what it forecasts."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from service.batching.batcher import Batcher
from service.batching.member import Batch, Member
from service.errors import DeadlineError, LupineError, ShedError
from service.protocol.messages import Policy, Servable, Tensor
from service.telemetry import Telemetry
from tests.unit.doubles import Outputs, TinyEngine, fp32, servable, snapshot

MODEL = servable(max_batch_size=4)


class Bench:
    """A batcher in front of a tiny engine, asked by members."""

    def __init__(self, *, in_flight: int = 1, workers: int = 1) -> None:
        self.engine = TinyEngine()
        self.batcher = Batcher(
            self.engine, Telemetry(), max_in_flight=in_flight, max_waiting=100, workers=workers
        )
        self.told: dict[float, Outputs | LupineError] = {}

    def submit(
        self,
        number: float,
        rows: int = 1,
        *,
        model: Servable = MODEL,
        priority: int = 1,
        slo: float = math.inf,
        seconds: float = math.inf,
        caller: int = 0,
    ) -> Member:
        """A request of equal rows, which are also its name."""
        now = time.monotonic()
        member = Member(
            servable=model,
            inputs={"x": fp32(np.full((rows, 1), number))},
            outputs=("y",),
            rows=rows,
            parameters={},
            deadline=now + seconds,
            until=now + slo,
            priority=priority,
            answer=lambda outcome: self.told.setdefault(number, outcome),
            queued=now,
            caller=caller,
        )
        self.batcher.submit(member)
        return member

    async def busy(self, seconds: float = 0.02) -> None:
        """An engine that has just been given a run, and does not finish it."""
        self.engine.open.clear()
        self.submit(0)
        while not self.engine.running:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0)
        await asyncio.sleep(seconds)

    async def free(self) -> None:
        """It finishes, and all that follows."""
        self.engine.open.set()
        while not all(queue.idle for queue in self.batcher._queues.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    def computed(self) -> list[list[float]]:
        """The rows of each run."""
        return [run["x"].array[:, 0].tolist() for run in self.engine.runs]


async def test_a_higher_priority_overtakes() -> None:
    """Not what runs already; and those of a lower one share what is left of its batch."""
    bench = Bench()
    await bench.busy()
    for number, priority in ((1, 3), (2, 2), (3, 1), (4, 3), (5, 1)):
        bench.submit(number, priority=priority)
    await bench.free()
    assert bench.computed() == [[0], [3, 5, 2, 1], [4]]


async def test_connections_take_turns() -> None:
    """One with many requests in flight holds up no other by more than its turn."""
    bench = Bench()
    await bench.busy()
    for number in range(1, 10):
        bench.submit(number, caller=77)
    bench.submit(100, caller=78)
    bench.submit(200)
    await bench.free()
    assert bench.computed()[1] == [1, 100, 200, 2]


async def test_what_would_be_later_than_its_slo_is_not_computed() -> None:
    """Waiting has cost it; the others are none the worse."""
    bench = Bench()
    await bench.busy()
    bench.submit(1, slo=0.03)
    bench.submit(2, slo=9)
    await asyncio.sleep(0.05)
    await bench.free()
    assert bench.computed() == [[0], [2]]
    refused = bench.told[1]
    assert isinstance(refused, ShedError)
    assert refused.reason == "late"
    assert "later than the model's SLO" in refused.message


async def test_an_slo_that_the_model_cannot_keep_is_no_reason_to_refuse_everybody() -> None:
    """Who hardly waited is computed, however slow the model is."""
    bench = Bench()
    for number in range(1, 4):
        bench.engine.open.clear()
        bench.submit(number, slo=0.1)
        await asyncio.sleep(0.12)
        await bench.free()
    assert bench.computed() == [[1], [2], [3]]
    assert not any(isinstance(outcome, LupineError) for outcome in bench.told.values())


async def test_a_deadline_is_told_while_the_engine_works() -> None:
    """In the queue and in the engine; a run that nobody waits for is given up."""
    bench = Bench()
    bench.engine.open.clear()
    bench.submit(1, seconds=0.3)
    while not bench.engine.running:  # noqa: ASYNC110 - the same
        await asyncio.sleep(0)
    bench.submit(2, seconds=0.02)
    await asyncio.sleep(0.35)
    for number, where in ((1, "was computed"), (2, "waited its turn")):
        outcome = bench.told[number]
        assert isinstance(outcome, DeadlineError)
        assert where in outcome.message
    assert bench.engine.running == 0


async def test_a_withdrawn_member_hears_nothing() -> None:
    """Before its batch left, or after; twice does nothing more."""
    bench = Bench()
    await bench.busy()
    members = [bench.submit(number) for number in (1, 2)]
    bench.batcher.withdraw(members[0])
    await bench.free()
    for member in members * 2:
        bench.batcher.withdraw(member)
    assert bench.computed() == [[0], [2]]
    assert set(bench.told) == {0, 2}


async def test_an_answer_that_breaks_harms_no_stranger() -> None:
    """It is seen by whoever watches the loop."""
    seen: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: seen.append(str(context["exception"]))
    )
    bench = Bench()
    bad = bench.submit(1)
    bench.submit(2)

    def breaks(_: Mapping[str, Tensor] | LupineError) -> None:
        raise RuntimeError("a defect of whoever asked")

    bad.answer = breaks
    await bench.free()
    assert set(bench.told) == {2}
    assert seen == ["a defect of whoever asked"]


async def test_of_a_model_that_never_ran_nothing_is_forecast() -> None:
    """Nobody is refused for want of knowledge."""
    forecast = Bench().batcher.forecast(MODEL, 1, 1)
    assert (forecast.wait, forecast.service) == (0.0, 0.0)


async def test_the_forecast_is_what_runs_and_waits_ahead() -> None:
    """By the cost that runs have had; a higher priority has less ahead."""
    bench = Bench()
    for _ in range(3):
        await bench.busy(0.03)
        await bench.free()
    idle = bench.batcher.forecast(MODEL, 1, 1)
    assert idle.wait == 0.0
    assert 0.03 <= idle.service < 0.2
    await bench.busy(0.0)
    for number in range(1, 9):
        bench.submit(number, priority=2)
    await asyncio.sleep(0)
    low = bench.batcher.forecast(MODEL, 1, 2)
    high = bench.batcher.forecast(MODEL, 1, 1)
    assert high.wait == pytest.approx(idle.service, rel=0.3)
    assert low.wait == pytest.approx(high.wait + 2 * idle.service, rel=0.3)
    await bench.free()


async def test_an_engine_with_several_instances_is_given_as_many_runs() -> None:
    """Each is idle until it has one."""
    bench = Bench(in_flight=8)
    model = replace(MODEL, instances=3)
    bench.engine.open.clear()
    for number in range(6):
        bench.submit(number, model=model)
        await asyncio.sleep(0.01)
    assert len(bench.engine.runs) == 3
    bench.submit(6, model=model)
    await asyncio.sleep(0.01)
    assert len(bench.engine.runs) == 4  # one that is full is on its way, as runs may be short
    await bench.free()
    bench = Bench(in_flight=8, workers=3)  # the other two workers have theirs
    bench.engine.open.clear()
    for number in range(5):
        bench.submit(number, model=model)
        await asyncio.sleep(0.01)
    assert len(bench.engine.runs) == 2
    await bench.free()


async def test_what_was_learned_of_a_servable_goes_with_it() -> None:
    """Not while somebody waits."""
    bench = Bench()
    await bench.busy()
    bench.batcher.serving(snapshot())
    assert len(bench.batcher._queues) == 1
    await bench.free()
    bench.batcher.serving(snapshot(MODEL))
    assert len(bench.batcher._queues) == 1
    bench.batcher.serving(snapshot())
    assert not bench.batcher._queues


async def test_a_slow_model_that_gains_nothing_is_given_small_batches() -> None:
    """Its rows take as long in company: nobody waits for a stranger's."""
    bench = Bench(in_flight=1)
    model = servable(max_batch_size=64, policy=Policy())
    schedule = bench.batcher._queue(model)._schedule
    for rows in (1, 2, 4, 8, 16):
        for _ in range(8):
            schedule.learn(Batch((), rows, started=0.0), now=0.01 * rows)
    await bench.busy()
    bench.engine.open.set()
    bench.submit(100, model=model)
    await asyncio.sleep(0.02)
    bench.engine.open.clear()
    bench.submit(101, model=model)
    await asyncio.sleep(0.02)
    for number in range(20):
        bench.submit(number + 1000, model=model)
    await bench.free()
    assert max(map(len, bench.computed())) <= 2
