from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching.batcher import Batcher
from service.errors import (
    DeadlineError,
    EngineError,
    InvalidRequestError,
    LupineError,
    ShedError,
    UnavailableError,
)
from service.protocol.messages import Parameter, Policy, Servable, Tensor
from tests.unit.doubles import Outputs, TinyEngine, double, fp32, servable, spec

MODEL = servable(max_batch_size=8)


class Log:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.waits: list[Sequence[float]] = []
        self.reasons: list[str] = []

    def batch_released(self, servable: Servable, waits: Sequence[float], reason: str) -> None:
        """Remember it."""
        assert servable.name
        self.waits.append(waits)
        self.reasons.append(reason)

    def run_sent(self, servable: Servable, rows: int) -> None:
        """Remember it."""
        assert servable.name
        self.rows.append(rows)


class Bench:
    """A batcher with a tiny engine in front of it."""

    def __init__(
        self,
        engine: TinyEngine | None = None,
        *,
        in_flight: int = 1,
        waiting: int = 1000,
        max_bytes: float = math.inf,
    ) -> None:
        self.engine = engine or TinyEngine()
        self.log = Log()
        self.batcher = Batcher(
            self.engine,
            self.log,
            max_in_flight=in_flight,
            max_waiting=waiting,
            max_bytes=max_bytes,
        )

    async def ask(
        self,
        value: float,
        rows: int = 1,
        *,
        model: Servable = MODEL,
        width: int = 1,
        parameters: Mapping[str, Parameter] | None = None,
        seconds: float = math.inf,
    ) -> Any:
        """Ask for the double of some equal rows."""
        answer = await self.batcher.infer(
            model,
            {"x": fp32(np.full((rows, width), value))},
            ("y",),
            rows=rows,
            parameters=parameters or {},
            deadline=time.monotonic() + seconds,
        )
        return answer["y"].array.tolist()

    def asks(self, *values: float, **more: Any) -> list[asyncio.Task[Any]]:
        """Ask for each value, all in one turn of the loop."""
        return [asyncio.ensure_future(self.ask(value, **more)) for value in values]

    async def hold(self, *values: float, **more: Any) -> list[asyncio.Task[Any]]:
        """Fill the engine and keep it from answering, so that what follows queues."""
        self.engine.open.clear()
        tasks = self.asks(*values, **more)
        await turns()
        return tasks

    def sizes(self) -> list[int]:
        """How many rows each run of the engine had."""
        return [len(run["x"].array) for run in self.engine.runs]

    def left_behind(self) -> int:
        """What the queues still hold of those who were there."""
        queues = self.batcher._queues.values()
        lines = [queue._schedule.line for queue in queues]
        return sum(len(q._schedule.running) for q in queues) + sum(
            line.members + line.rows + len(line._levels) + len(line._rows) for line in lines
        )

    def computed(self) -> list[float]:
        """Every row that reached the engine."""
        return [value for run in self.engine.runs for value in run["x"].array[:, 0].tolist()]


async def turns(count: int = 6) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
async def _nothing_is_left_unseen() -> AsyncIterator[None]:
    """No test leaves a task or an exception behind that nobody looked at."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    yield
    await turns()
    gc.collect()
    await turns()
    assert not [c for c in complaints if "the defect" not in str(c.get("exception"))]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def outcomes(tasks: Sequence[asyncio.Task[Any]]) -> list[Any]:
    async with asyncio.timeout(5):
        return await asyncio.gather(*tasks, return_exceptions=True)


# ------------------------------------------------------------------ merging


async def test_a_request_alone_is_answered_at_once() -> None:
    """An idle engine adds no wait."""
    bench = Bench()
    assert await bench.ask(3) == [[6]]
    assert bench.log.rows == [1]
    assert bench.log.waits[0][0] < 0.1


async def test_requests_of_one_turn_go_together() -> None:
    """What arrives in the same turn of the loop is one batch."""
    bench = Bench()
    assert await outcomes(bench.asks(1, 2, 3)) == [[[2]], [[4]], [[6]]]
    assert bench.sizes() == [3]


async def test_what_queues_behind_a_busy_engine_goes_together() -> None:
    """As soon as it is free."""
    bench = Bench()
    first = await bench.hold(0)
    rest = []
    for value in range(1, 6):
        rest += bench.asks(value)
        await turns()
    bench.engine.open.set()
    assert await outcomes(first + rest) == [[[2 * v]] for v in range(6)]
    assert bench.sizes() == [1, 5]


async def test_a_batch_has_no_more_rows_than_the_model_takes() -> None:
    """The rest follows in the next ones, oldest first."""
    bench = Bench()
    tasks = bench.asks(*range(6), rows=3)
    assert await outcomes(tasks) == [[[2 * v]] * 3 for v in range(6)]
    assert bench.sizes() == [6, 6, 6]
    assert bench.computed() == sorted(bench.computed())


@pytest.mark.parametrize("width", [-1, 5], ids=["open", "fixed"])
async def test_a_batch_has_no_more_bytes_than_the_settings_allow(width: int) -> None:
    """Whether the model leaves the shape of a row open or not; it leaves as full."""
    bench = Bench(max_bytes=3 * 5 * 4 + 3)  # three rows of five floats
    model = servable(inputs=(spec("x", "FP32", (-1, width)),))
    asks = [asyncio.create_task(bench.ask(v, model=model, width=5)) for v in range(7)]
    asks.append(asyncio.create_task(bench.ask(7, rows=4, model=model, width=5)))  # has more itself
    answers = await outcomes(asks)
    assert answers == [[[2 * v] * 5] * (4 if v == 7 else 1) for v in range(8)]
    assert bench.sizes() == [3, 3, 1, 4]
    assert bench.log.reasons[:2] == ["full", "full"]


async def test_several_batches_may_be_in_flight_and_no_more() -> None:
    """As many as the settings say."""
    bench = Bench(in_flight=2)
    tasks = await bench.hold(*range(40))
    assert len(bench.engine.runs) == 2
    bench.engine.open.set()
    assert await outcomes(tasks) == [[[2 * v]] for v in range(40)]
    assert bench.engine.most_running == 2


async def test_the_observer_hears_each_batch_with_each_wait() -> None:
    """Rows of the batch, and a wait for every request in it."""
    bench = Bench()
    await outcomes(bench.asks(1, 2, rows=2))
    assert bench.log.rows == [4]
    assert len(bench.log.waits[0]) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"width": 1}, {"width": 2}),
        ({"model": MODEL}, {"model": servable(version="2")}),
        ({"parameters": {"a": 1}}, {"parameters": {}}),
        ({"parameters": {"a": 1}}, {"parameters": {"a": 2}}),
        ({"parameters": {"a": 1}}, {"parameters": {"a": True}}),
        ({"parameters": {"a": 1}}, {"parameters": {"a": 1.0}}),
        ({"parameters": {"a": 0.0}}, {"parameters": {"a": -0.0}}),
    ],
)
async def test_requests_that_differ_are_not_merged(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """In trailing shape, servable or parameters, the kinds of their values included."""
    bench = Bench()
    await outcomes([*bench.asks(1, **one), *bench.asks(1, **other)])
    assert len(bench.engine.runs) == 2


async def test_requests_with_the_same_parameters_are_merged() -> None:
    """In whatever order they name them."""
    bench = Bench()
    await outcomes(
        [
            *bench.asks(1, parameters={"a": 1, "b": "x"}),
            *bench.asks(2, parameters={"b": "x", "a": 1}),
        ]
    )
    assert bench.sizes() == [2]


async def test_requests_for_other_outputs_are_not_merged() -> None:
    """The engine computes what was asked for."""
    bench = Bench(TinyEngine(answer=lambda inputs: {"y": inputs["x"], "z": inputs["x"]}))
    inputs = {"x": fp32([[1]])}
    await asyncio.gather(
        *(
            bench.batcher.infer(MODEL, inputs, outputs, rows=1, parameters={}, deadline=math.inf)
            for outputs in (("y",), ("z",), ("y", "z"))
        )
    )
    assert len(bench.engine.runs) == 3


@pytest.mark.parametrize(
    "model",
    [
        servable(max_batch_size=0),
        servable(policy=Policy(batching="off")),
        servable(policy=Policy(batching="triton")),
    ],
)
async def test_a_model_that_is_not_batched_here_gets_each_request_as_it_is(
    model: Servable,
) -> None:
    """The engine sees every request, at once."""
    bench = Bench()
    assert await outcomes(bench.asks(1, 2, model=model)) == [[[2]], [[4]]]
    assert bench.sizes() == [1, 1]
    assert bench.log.rows == [1, 1]


# ------------------------------------------------------------------ bad company


def fails_on(bad: float, error: Exception) -> TinyEngine:
    def answer(inputs: Mapping[str, Tensor]) -> Outputs:
        if (inputs["x"].array == bad).any():
            raise error
        return double(inputs)

    return TinyEngine(answer=answer)


@pytest.mark.parametrize(
    "error", [EngineError("bad"), InvalidRequestError("bad"), RuntimeError("the defect")]
)
async def test_a_bad_member_harms_no_stranger(error: Exception) -> None:
    """When a batch fails, its members are tried apart; the bad one alone hears of it."""
    bench = Bench(fails_on(3, error))
    found = await outcomes(bench.asks(*range(6)))
    bad = found.pop(3)
    assert found == [[[2 * v]] for v in (0, 1, 2, 4, 5)]
    if isinstance(error, LupineError):
        assert bad is error
    else:
        assert isinstance(bad, EngineError)
        assert "RuntimeError: the defect" in bad.message


async def test_an_output_with_wrong_rows_harms_no_stranger() -> None:
    """A model that mixes rows up in a batch may be right for each request alone."""

    def answer(inputs: Mapping[str, Tensor]) -> Outputs:
        return double({"x": fp32(inputs["x"].array[:1])})

    bench = Bench(TinyEngine(answer=answer))
    assert await outcomes(bench.asks(1, 2, 3)) == [[[2]], [[4]], [[6]]]


async def test_trying_apart_keeps_to_the_runs_in_flight() -> None:
    """A failing batch does not flood the engine."""
    bench = Bench(fails_on(0, EngineError("bad")), in_flight=2)
    await outcomes(bench.asks(*range(40)))
    assert bench.engine.most_running <= 2


async def test_who_leaves_during_a_failing_run_is_not_tried_again() -> None:
    """Neither the cancelled nor the expired: nobody waits for them."""
    bench = Bench(fails_on(0, EngineError("bad")))
    bad, gone, late = tasks = [*bench.asks(0), *bench.asks(1), *bench.asks(2, seconds=0.02)]
    bench.engine.open.clear()
    await turns()
    assert bench.sizes() == [3]
    gone.cancel()
    await asyncio.sleep(0.03)
    bench.engine.open.set()
    await outcomes(tasks)
    assert isinstance(bad.exception(), EngineError)
    assert isinstance(late.exception(), DeadlineError)
    assert bench.sizes() == [3, 1]


@pytest.mark.parametrize("error", [UnavailableError("away"), DeadlineError("late")])
async def test_a_failure_that_is_nobodys_fault_is_told_to_all_at_once(error: LupineError) -> None:
    """An engine that is away is not asked again for each."""
    bench = Bench(fails_on(0, error))
    assert await outcomes(bench.asks(0, 1, 2)) == [error] * 3
    assert len(bench.engine.runs) == 1


@pytest.mark.parametrize("values", [(0,), (0, 0, 0)])
async def test_a_defect_leaves_nobody_waiting_and_is_seen(values: tuple[int, ...]) -> None:
    """Those who wait hear of it, and so does whoever watches the loop."""
    seen: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: seen.append(context.get("exception"))
    )
    bench = Bench(fails_on(0, KeyError("the defect")))
    for error in await outcomes(bench.asks(*values)):
        assert isinstance(error, EngineError)
        assert "the engine broke: KeyError" in error.message
    assert await bench.ask(1) == [[2]]
    await turns()
    gc.collect()
    assert len(seen) >= len(values)
    assert {type(error) for error in seen} == {KeyError}


async def test_a_defect_of_the_observer_leaves_nobody_waiting() -> None:
    """Whoever counts must not stop the counted."""

    class DeafToReleases(Log):
        def batch_released(self, servable: Servable, waits: Sequence[float], reason: str) -> None:
            raise ValueError(f"the defect: {servable.name} {waits} {reason}")

    class DeafToRuns(Log):
        def run_sent(self, servable: Servable, rows: int) -> None:
            raise ValueError(f"the defect: {servable.name} {rows}")

    bench = Bench()
    bench.batcher = Batcher(bench.engine, DeafToReleases(), max_in_flight=1, max_waiting=10)
    assert await outcomes(bench.asks(1, 2)) == [[[2]], [[4]]]  # apart, they left before
    bench.batcher = Batcher(bench.engine, DeafToRuns(), max_in_flight=1, max_waiting=10)
    assert [type(error) for error in await outcomes(bench.asks(1, 2))] == [EngineError] * 2


# ------------------------------------------------------------------ leaving


async def test_a_cancelled_request_is_never_computed() -> None:
    """A gone client costs nothing more."""
    bench = Bench()
    first = await bench.hold(0)
    gone, stays = await bench.hold(1, 2)
    gone.cancel()
    bench.engine.open.set()
    await outcomes([*first, gone, stays])
    assert bench.computed() == [0, 2]


async def test_an_expired_request_is_never_computed_and_hears_so() -> None:
    """Nobody waits for its answer any more."""
    bench = Bench()
    first = await bench.hold(0)
    late, stays = await bench.hold(1, seconds=0.01) + await bench.hold(2)
    await asyncio.sleep(0.02)
    bench.engine.open.set()
    found = await outcomes([*first, late, stays])
    assert isinstance(found[1], DeadlineError)
    assert bench.computed() == [0, 2]


async def test_a_request_that_comes_too_late_is_never_computed() -> None:
    """Even where the engine is idle."""
    bench = Bench()
    with pytest.raises(DeadlineError):
        await bench.ask(1, seconds=-1)
    assert not bench.engine.runs


async def test_a_batch_has_the_deadline_of_the_most_patient() -> None:
    """The others' own timeouts let go of it earlier."""
    bench = Bench()
    now = time.monotonic()
    await outcomes([*bench.asks(1, seconds=5), *bench.asks(2, seconds=50)])
    assert now + 50 <= bench.engine.deadlines[0] <= now + 51


async def test_a_full_queue_sheds_what_comes_next() -> None:
    """With the limit and the model in the refusal."""
    bench = Bench(waiting=2)
    first = await bench.hold(0)
    queued = await bench.hold(1, 2)
    with pytest.raises(ShedError) as refused:
        await bench.ask(3)
    assert refused.value.reason == "queue_full"
    assert refused.value.retry_after
    assert "2 requests wait for model 'm'" in refused.value.message
    bench.engine.open.set()
    assert await outcomes(first + queued) == [[[0]], [[2]], [[4]]]


async def test_those_who_left_hold_no_place_in_a_full_queue() -> None:
    """A queue of gone clients turns nobody away."""
    bench = Bench(waiting=2)
    first = await bench.hold(0)
    gone = await bench.hold(1, 2)
    for task in gone:
        task.cancel()
    await turns()
    stays = await bench.hold(3)
    bench.engine.open.set()
    assert (await outcomes(first + stays)) == [[[0]], [[6]]]
    assert bench.computed() == [0, 3]


async def test_thousands_who_leave_together_cost_little() -> None:
    """Letting 5,000 of them go takes no time that others would notice."""
    bench = Bench(waiting=10_000)
    first = await bench.hold(0)
    gone = await bench.hold(*[1.0] * 5000)
    started = time.perf_counter()
    for task in gone:
        task.cancel()
    bench.engine.open.set()
    await outcomes([*first, *gone])
    assert time.perf_counter() - started < 1
    assert bench.computed() == [0]


async def test_idle_queues_vanish() -> None:
    """10,000 shapes leave nothing behind."""
    bench = Bench()
    for start in range(0, 10_000, 500):
        await outcomes([bench.asks(1, width=w)[0] for w in range(start + 1, start + 501)])
        bench.engine.runs.clear()
        bench.engine.deadlines.clear()
        await turns()
        assert bench.left_behind() == 0


async def test_queues_of_the_cancelled_and_the_failed_vanish_too() -> None:
    """However their requests ended."""
    bench = Bench(fails_on(0, EngineError("bad")))
    tasks = bench.asks(0, 1, width=1) + bench.asks(1, width=2) + bench.asks(1, width=3, seconds=-1)
    tasks[2].cancel()
    await outcomes(tasks)
    await turns()
    assert bench.left_behind() == 0


# ------------------------------------------------------------------ nothing is swapped

ARRIVAL = st.tuples(
    st.integers(1, 4),  # rows
    st.integers(1, 2),  # trailing shape
    st.integers(0, 3),  # turns of the loop before it
    st.sampled_from(["stay", "stay", "stay", "cancel", "fail"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ARRIVAL, min_size=1, max_size=25), st.integers(1, 3), st.integers(4, 9))
def test_answers_are_never_swapped(
    arrivals: list[tuple[int, int, int, str]], in_flight: int, max_rows: int
) -> None:
    """Under any order of arrivals, shapes, failures and cancellations."""

    def answer(inputs: Mapping[str, Tensor]) -> Outputs:
        if (inputs["x"].array < 0).any():
            raise EngineError("bad")
        return double(inputs)

    async def scenario() -> None:
        bench = Bench(TinyEngine(answer=answer), in_flight=in_flight)
        model = servable(max_batch_size=max_rows)
        tasks = []
        for number, (rows, width, pause, fate) in enumerate(arrivals, start=1):
            value = -number if fate == "fail" else number
            tasks += bench.asks(value, rows=rows, width=width, model=model)
            await turns(pause)
            if fate == "cancel":
                tasks[-1].cancel()
        found = await outcomes(tasks)
        for number, ((rows, width, _, fate), got) in enumerate(
            zip(arrivals, found, strict=True), start=1
        ):
            if fate == "fail":
                assert isinstance(got, EngineError)
            elif fate == "stay" or not isinstance(got, asyncio.CancelledError):
                assert got == [[2 * number] * width] * rows
        assert bench.engine.most_running <= in_flight * 2  # two trailing shapes
        await turns()
        assert bench.left_behind() == 0

    asyncio.run(scenario())


async def test_a_run_that_everybody_left_is_given_up() -> None:
    """The engine hears of it; while one member is still there, it does not."""
    bench = Bench()
    first, second = await bench.hold(1, 2)
    await turns()
    assert bench.sizes() == [2]
    first.cancel()
    await turns()
    assert bench.engine.running == 1
    second.cancel()
    await turns()
    assert bench.engine.running == 0
    bench.engine.open.set()
    assert await bench.ask(3) == [[6]]
