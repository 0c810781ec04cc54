"""What the batcher tells of the batches, and which trace a run continues."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import numpy as np

from service.batching.batcher import Batcher
from service.errors import EngineError
from service.protocol.messages import Policy, Servable, Tensor
from service.protocol.span import Span, continued
from service.telemetry import Telemetry
from tests.unit.doubles import Outputs, TinyEngine, double, fp32, servable
from tests.unit.telemetry.samples import Samples, read, value

MODEL = servable(max_batch_size=4)


class Bench:
    """A batcher that tells its telemetry."""

    def __init__(self, engine: TinyEngine | None = None) -> None:
        self.engine = engine or TinyEngine()
        self.telemetry = Telemetry()
        self.batcher = Batcher(self.engine, self.telemetry, max_in_flight=1, max_waiting=100)

    def ask(
        self, number: float, rows: int = 1, *, span: Span | None = None, model: Servable = MODEL
    ) -> asyncio.Task[Outputs]:
        """One request."""
        asked = self.batcher.infer(
            model,
            {"x": fp32(np.full((rows, 1), number))},
            ("y",),
            rows=rows,
            parameters={},
            deadline=time.monotonic() + 5,
            span=span,
        )
        return asyncio.ensure_future(asked)

    async def behind(self, *waiting: tuple[float, int, Span | None]) -> list[object]:
        """The answers to these, of which none leaves before the engine is done with another."""
        self.engine.open.clear()
        tasks = [self.ask(0)]
        while not self.engine.running:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0)
        tasks += [self.ask(number, rows, span=span) for number, rows, span in waiting]
        await asyncio.sleep(0)  # they wait from now on, however late the timer below was set
        await asyncio.sleep(0.01)
        self.engine.open.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    def samples(self) -> Samples:
        """What a scrape finds."""
        return read(self.telemetry.exposition().decode())


def traced(number: int) -> Span:
    """A span in a trace of that number."""
    span = continued(f"00-{number:032x}-00f067aa0ba902b7-01", f"n={number}")
    assert span is not None
    return span


def refuses_negatives(inputs: Mapping[str, Tensor]) -> Outputs:
    """Any batch that holds a number below 0 fails."""
    if (inputs["x"].array < 0).any():
        raise EngineError("negative")
    return double(inputs)


async def test_a_batch_is_full_or_its_engine_was_idle() -> None:
    """Full also where the next member would not fit."""
    bench = Bench()
    await bench.behind((1, 3, None), (2, 2, None), (3, 2, None), (4, 1, None))
    samples = bench.samples()
    # Alone into an idle engine; 3 rows, since 5 are too many; 2 + 2, full; 1, all there is.
    assert value(samples, "lupine_batch_release_total", reason="idle_engine") == 2
    assert value(samples, "lupine_batch_release_total", reason="full") == 2
    assert value(samples, "lupine_batch_rows_count", model="m") == 4


async def test_members_tried_apart_have_waited_once() -> None:
    """They are runs more, and neither waits nor releases more."""
    bench = Bench(TinyEngine(answer=refuses_negatives))
    answers = await bench.behind((1, 1, None), (-1, 1, None), (2, 1, None))
    assert [isinstance(answer, EngineError) for answer in answers] == [False, False, True, False]
    samples = bench.samples()
    assert value(samples, "lupine_queue_duration_seconds_count", model="m") == 4
    assert value(samples, "lupine_batch_release_total", reason="idle_engine") == 2
    assert value(samples, "lupine_batch_rows_count", model="m") == 5


async def test_a_batch_continues_the_trace_of_its_oldest_traced_member() -> None:
    """Others still learn how they waited."""
    bench = Bench()
    untraced, old, young = Span(), traced(1), traced(2)
    await bench.behind((1, 1, None), (2, 1, untraced), (3, 1, old), (4, 1, young))
    assert bench.engine.spans == [None, old]
    for span in (untraced, old, young):
        assert span.queued is not None
        assert span.queued >= 0.005
        assert (span.rows, span.batch_rows) == (1, 4)


async def test_a_batch_of_untraced_members_continues_none() -> None:
    """Nothing is added."""
    bench = Bench()
    await bench.behind((1, 1, None), (2, 1, Span()))
    assert bench.engine.spans == [None, None]


async def test_a_member_tried_apart_continues_its_own_trace() -> None:
    """Its wait stays that of the batch in which it left."""
    bench = Bench(TinyEngine(answer=refuses_negatives))
    one, bad = traced(1), traced(2)
    await bench.behind((1, 1, one), (-1, 1, bad))
    assert bench.engine.spans == [None, one, one, bad]
    assert (one.rows, one.batch_rows, bad.batch_rows) == (1, 1, 1)


async def test_an_unbatched_request_carries_its_trace_and_has_waited_for_nothing() -> None:
    """It leaves no queue."""
    bench = Bench()
    span = traced(1)
    await bench.ask(1, 2, span=span, model=servable(policy=Policy(batching="triton")))
    assert bench.engine.spans == [span]
    assert (span.queued, span.rows, span.batch_rows) == (0.0, 2, 2)
    samples = bench.samples()
    assert value(samples, "lupine_batch_rows_sum", model="m") == 2
    for reason in ("full", "idle_engine"):
        assert value(samples, "lupine_batch_release_total", reason=reason) == 0
