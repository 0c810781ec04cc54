"""Shadow copies: compared, counted, never in the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from service import shadowing
from service.errors import EngineError, LupineError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Servable, Snapshot, Tensor
from service.protocol.routes import ModelRoutes, Routes, Shadow
from service.shadowing import DUTY, Shadowing
from tests.unit.doubles import fp32, request, servable

ASKED = request({"x": fp32([[1]])})
LIVE = {"y": fp32([[2]])}


class Clock:
    """A time that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Now."""
        return self.now


class Runner:
    """Gives what it was told to, when it may."""

    def __init__(self, gives: Mapping[str, Tensor] | LupineError, clock: Clock) -> None:
        self.gives = gives
        self.clock = clock
        self.go = asyncio.Event()
        self.go.set()
        self.ran: list[str] = []

    async def infer(self, servable: Servable, *_: object, **__: object) -> Mapping[str, Tensor]:
        """A run that takes a second of the clock."""
        self.ran.append(servable.version)
        await self.go.wait()
        self.clock.now += 1
        if isinstance(self.gives, LupineError):
            raise self.gives
        return self.gives


class Bench:
    """A shadow of version 2 that sees all of a model's requests."""

    def __init__(
        self, gives: Mapping[str, Tensor] | LupineError = LIVE, share: float = 1.0
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.clock = Clock()
        self.runner = Runner(gives, self.clock)
        self.shadowing = Shadowing(self.runner, self, self.clock)
        shadow = Shadow(version="2", share=share, tolerance=0.01)
        routes = Routes(models={"m": ModelRoutes(aliases={"champion": "1"}, shadow=shadow)})
        both = {"1": servable(), "2": servable(version="2")}
        self.shadowing.serving(Snapshot(servables={"m": both}), routes)

    def shadowed(self, model: str, outcome: str) -> None:
        """What it is told."""
        assert model == "m"
        self.counts[outcome] += 1

    async def ends(self) -> None:
        """Until the copy under way has ended."""
        if (task := self.shadowing._task) is not None:
            await asyncio.wait([task])
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("gives", "outcome"),
    [
        (LIVE, "agreed"),
        ({"y": fp32([[2.02]])}, "agreed"),
        ({"y": fp32([[2.1]])}, "disagreed"),
        ({"y": fp32([[2], [2]])}, "disagreed"),
        ({"z": fp32([[2]])}, "disagreed"),
        (EngineError("no"), "failed"),
    ],
)
async def test_an_answer_is_compared_within_the_tolerance(
    gives: Mapping[str, Tensor] | LupineError, outcome: str
) -> None:
    """By names, shapes and numbers; a run that fails is a failure of the shadow alone."""
    bench = Bench(gives)
    bench.shadowing.answered(ASKED, LIVE)
    await bench.ends()
    assert bench.counts == {outcome: 1}
    assert bench.runner.ran == ["2"]


async def test_one_copy_at_a_time_and_only_for_a_part_of_the_time() -> None:
    """Whatever comes meanwhile is counted as skipped, not kept."""
    bench = Bench()
    bench.runner.go.clear()
    for _ in range(5):
        bench.shadowing.answered(ASKED, LIVE)
    bench.runner.go.set()
    await bench.ends()
    bench.clock.now += 0.9 / DUTY - 1  # it took a second: the next is due a while later
    bench.shadowing.answered(ASKED, LIVE)
    assert bench.counts == {"agreed": 1, "skipped": 5}
    bench.clock.now += 0.2 / DUTY
    bench.shadowing.answered(ASKED, LIVE)
    await bench.ends()
    assert bench.counts == {"agreed": 2, "skipped": 5}


async def test_only_what_the_plain_name_answered_is_copied() -> None:
    """Neither a pinned version nor an alias nor another model is; and a share of 0 copies none."""
    bench = Bench()
    for asked in (
        request({"x": fp32([[1]])}, version="1"),
        request({"x": fp32([[1]])}, model="m@challenger"),
        request({"x": fp32([[1]])}, model="other"),
    ):
        bench.shadowing.answered(asked, LIVE)
    Bench(share=0.0).shadowing.answered(ASKED, LIVE)
    assert not bench.runner.ran
    assert not bench.counts


async def test_what_does_not_fit_the_shadow_fails_there_alone() -> None:
    """A version with another signature is no trouble of the caller's."""
    bench = Bench()
    bench.shadowing.answered(request({"other": fp32([[1]])}), LIVE)
    await bench.ends()
    assert bench.counts == {"failed": 1}


async def test_stopping_gives_up_the_copy_under_way() -> None:
    """And leaves no task."""
    bench = Bench()
    bench.runner.go.clear()
    bench.shadowing.answered(ASKED, LIVE)
    await asyncio.sleep(0)
    await bench.shadowing.stop()
    await asyncio.sleep(0)
    assert bench.shadowing._task is None
    assert bench.counts == {"failed": 1}


def test_text_and_whole_numbers_agree_exactly() -> None:
    """A tolerance is for floats; not a number equals itself."""
    words = {"y": Tensor(Datatype.BYTES, np.array([b"a", b"b"], np.object_))}
    other = {"y": Tensor(Datatype.BYTES, np.array([b"a", b"c"], np.object_))}
    assert shadowing.agree(words, words, 1.0)
    assert not shadowing.agree(words, other, 1.0)
    nan = {"y": fp32([[float("nan")]])}
    assert shadowing.agree(nan, nan, 0.0)
