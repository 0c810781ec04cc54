from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.admission import Admission
from service.batching.batcher import Batcher
from service.dataplane import DataPlane
from service.errors import (
    DeadlineError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    ShedError,
    UnavailableError,
    UnsupportedError,
)
from service.protocol.messages import InferResponse, ModelState, Policy, Snapshot, Tensor
from service.routing import Catalogue
from service.shadowing import Shadowing
from service.telemetry import Telemetry
from tests.unit.doubles import (
    LocalGeneration,
    Outputs,
    TinyEngine,
    double,
    fp32,
    request,
    servable,
    snapshot,
    spec,
)

ONE = {"x": fp32([[1]])}


class Plane:
    """A data plane over a tiny engine, with the parts that a test looks into."""

    def __init__(
        self, engine: TinyEngine, *, per_model: int = 10, total: int = 10, waiting: int = 10
    ) -> None:
        self.engine = engine
        self.telemetry = Telemetry()
        self.admission = Admission(per_model=per_model, total=total)
        batcher = Batcher(engine, self.telemetry, max_in_flight=1, max_waiting=waiting)
        self.serve = DataPlane(
            engine=engine,
            catalogue=Catalogue(engine, LocalGeneration()),
            admission=self.admission,
            batcher=batcher,
            telemetry=self.telemetry,
            shadowing=Shadowing(batcher, self.telemetry),
        )

    def metric(self, name: str, **labels: str) -> float | None:
        """A sample's value; None where there is no such sample."""
        for family in text_string_to_metric_families(self.telemetry.exposition().decode()):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return None


async def turns() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def test_an_answer_names_its_version_and_carries_the_id() -> None:
    """The version that answered, and what the client called its request."""
    plane = Plane(TinyEngine(servable(version="7")))
    answer = await plane.serve.infer(request(ONE, id="abc"))
    assert (answer.model, answer.version, answer.id) == ("m", "7", "abc")
    assert answer.outputs["y"].array.tolist() == [[2]]


async def test_only_the_outputs_asked_for_are_answered_in_their_order() -> None:
    """All of them where none is named."""

    def answer(inputs: Mapping[str, Tensor]) -> Outputs:
        return dict.fromkeys("abc", inputs["x"])

    outputs = [spec(name, "FP32", (-1, -1)) for name in "abc"]
    plane = Plane(TinyEngine(servable(outputs=outputs), answer=answer))
    assert list((await plane.serve.infer(request(ONE, outputs=("c", "a")))).outputs) == ["c", "a"]
    assert list((await plane.serve.infer(request(ONE))).outputs) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"model": "nobody"}, NotFoundError),
        ({"version": "9"}, NotFoundError),
        ({"version": "x"}, InvalidRequestError),
        ({"inputs": {}}, InvalidRequestError),
        ({"outputs": ("z",)}, InvalidRequestError),
    ],
)
async def test_a_request_that_cannot_fit_never_reaches_the_engine(
    asked: dict[str, Any], error: type[Exception]
) -> None:
    """Nor the queue, where it could harm others."""
    plane = Plane(TinyEngine(servable()))
    with pytest.raises(error):
        await plane.serve.infer(request(**{"inputs": ONE} | asked))
    assert not plane.engine.runs


async def test_a_model_that_exists_and_is_not_loaded_is_unavailable() -> None:
    """Its time may come."""
    engine = TinyEngine()
    engine.serves = Snapshot(index=(ModelState(name="m", state="UNAVAILABLE", reason="broken"),))
    with pytest.raises(UnavailableError, match="broken"):
        await Plane(engine).serve.infer(request(ONE))


async def test_an_answer_after_the_deadline_is_a_deadline_error() -> None:
    """The client hears at its deadline, whatever the engine does."""
    plane = Plane(TinyEngine(servable()))
    plane.engine.open.clear()
    started = time.monotonic()
    with pytest.raises(DeadlineError, match=r"the deadline passed 0\.0\d+ s after .* 'm'"):
        await plane.serve.infer(request(ONE, deadline=started + 0.03))
    assert time.monotonic() - started < 1
    plane.engine.open.set()
    await turns()


async def test_a_request_without_a_deadline_has_the_models_own() -> None:
    """`lupine.default_timeout_ms`."""
    plane = Plane(TinyEngine(servable(policy=Policy(default_timeout=0.03))))
    plane.engine.open.clear()
    with pytest.raises(DeadlineError):
        await plane.serve.infer(request(ONE))
    plane.engine.open.set()
    await turns()


@pytest.mark.parametrize("batching", ["gateway", "off", "triton"])
async def test_a_request_that_arrives_too_late_is_never_computed(batching: str) -> None:
    """Batched or not."""
    plane = Plane(TinyEngine(servable(policy=Policy(batching=batching))))
    with pytest.raises(DeadlineError):
        await plane.serve.infer(request(ONE, deadline=time.monotonic() - 1))
    await turns()
    assert not plane.engine.runs


async def test_permits_are_held_to_the_end_and_given_back() -> None:
    """However the request ends: answered, failed, expired or cancelled."""

    def answer(inputs: Mapping[str, Tensor]) -> Outputs:
        if inputs["x"].array[0] < 0:
            raise EngineError("bad")
        return double(inputs)

    plane = Plane(TinyEngine(servable(max_batch_size=1), answer=answer))
    plane.engine.open.clear()
    late = request(ONE, deadline=time.monotonic() + 0.2)
    asked = [request(ONE), request({"x": fp32([[-1]])}), late, request(ONE)]
    tasks = [asyncio.ensure_future(plane.serve.infer(one)) for one in asked]
    await turns()
    assert plane.admission.inflight == 4
    await asyncio.sleep(0.1)  # the gauge is told every now and then
    assert plane.metric("lupine_inflight_requests") == 4
    tasks[3].cancel()
    await asyncio.sleep(0.15)
    assert plane.admission.inflight == 2
    plane.engine.open.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one).__name__ for one in found] == [
        "InferResponse", "EngineError", "DeadlineError", "CancelledError",
    ]  # fmt: skip
    assert plane.admission.inflight == 0
    await asyncio.sleep(0.1)
    assert plane.metric("lupine_inflight_requests") == 0


@pytest.mark.parametrize(
    ("bounds", "reason"), [({"per_model": 1}, "permits"), ({"waiting": 1}, "queue_full")]
)
async def test_who_is_shed_is_counted_by_reason(bounds: dict[str, int], reason: str) -> None:
    """Whether for want of a permit or of a place in the queue."""
    plane = Plane(TinyEngine(servable(max_batch_size=1)), **bounds)
    plane.engine.open.clear()
    tasks = []
    for _ in range(3):
        tasks.append(asyncio.ensure_future(plane.serve.infer(request(ONE))))
        await turns()
    plane.engine.open.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    shed = [one for one in found if isinstance(one, ShedError)]
    assert {one.reason for one in shed} == {reason}
    assert plane.metric("lupine_shed_total", model="m", reason=reason) == len(shed)


async def test_a_model_is_ready_while_it_is_loaded_and_its_engine_lives() -> None:
    """An unloaded one is not ready, an unknown one is not found."""
    engine = TinyEngine()
    resting = ModelState(name="resting", state="UNAVAILABLE")
    engine.serves = snapshot(servable(version="2"), index=[resting])
    plane = Plane(engine)
    assert await plane.serve.ready()
    assert await plane.serve.model_ready("m", "")
    assert await plane.serve.model_ready("m", "2")
    assert not await plane.serve.model_ready("resting", "")
    for name, version in (("m", "3"), ("nobody", "")):
        with pytest.raises(NotFoundError):
            await plane.serve.model_ready(name, version)
    engine.alive = False
    assert not await plane.serve.ready()
    assert not await plane.serve.model_ready("m", "")


async def test_a_name_stands_for_all_its_versions_and_a_version_for_itself() -> None:
    """In the order of their numbers."""
    plane = Plane(TinyEngine(servable(version="10"), servable(version="9")))
    found, versions = await plane.serve.servable("m", "")
    assert (found.version, versions) == ("10", ["9", "10"])
    found, versions = await plane.serve.servable("m", "9")
    assert (found.version, versions) == ("9", ["9"])


async def test_the_index_is_all_or_what_is_ready() -> None:
    """As asked."""
    engine = TinyEngine()
    engine.serves = snapshot(servable(), index=[ModelState(name="broken", state="UNAVAILABLE")])
    plane = Plane(engine)
    assert [s.name for s in await plane.serve.index(ready=False)] == ["m", "broken"]
    assert [s.name for s in await plane.serve.index(ready=True)] == ["m"]


async def test_a_change_of_what_is_loaded_shows_at_the_next_request() -> None:
    """The model that was unloaded is not found by the one that follows."""
    plane = Plane(TinyEngine(servable(), servable("other")))
    await plane.serve.infer(request(ONE))
    await plane.serve.load("m")
    await plane.serve.unload("m")
    with pytest.raises(NotFoundError):
        await plane.serve.infer(request(ONE))
    assert [s.name for s in await plane.serve.index(ready=True)] == ["other"]


async def test_only_known_models_become_labels() -> None:
    """A client's invention does not."""
    plane = Plane(TinyEngine(servable()))
    await plane.serve.infer(request(ONE))
    assert plane.serve.label("m") == "m"
    assert plane.serve.label("a client's invention") == ""


async def test_statistics_of_an_unknown_model_are_not_found() -> None:
    """Those of all models always are."""
    plane = Plane(TinyEngine(servable()))
    assert await plane.serve.statistics("", "")
    assert await plane.serve.statistics("m", "1")
    with pytest.raises(NotFoundError):
        await plane.serve.statistics("nobody", "")


async def test_looking_at_the_engine_goes_on_while_it_is_away() -> None:
    """Once it is back its changes show."""

    class Flaky(TinyEngine):
        async def snapshot(self) -> Snapshot:
            found = await super().snapshot()
            if self.snapshots in (2, 3):
                raise UnavailableError("away")
            return found

    engine = Flaky(servable(version="1"))
    plane = Plane(engine)
    await plane.serve.infer(request(ONE))
    engine.serves = snapshot(servable(version="2"))
    watching = asyncio.ensure_future(plane.serve.keep_fresh(0.001))
    while engine.snapshots < 4:  # noqa: ASYNC110 - a counter, which tells nobody when it moves
        await asyncio.sleep(0.001)
    await turns()
    watching.cancel()
    assert (await plane.serve.infer(request(ONE))).version == "2"


def test_about_tells_name_version_and_extensions() -> None:
    """What `GET /v2` answers."""
    about = DataPlane.about()
    assert about["name"] == "lupine"
    assert about["version"]
    assert "binary_tensor_data" in about["extensions"]


async def test_a_deadline_beyond_all_clocks_is_no_error() -> None:
    """Infinite and enormous alike."""
    plane = Plane(TinyEngine(servable(policy=Policy(default_timeout=2e6))))
    for deadline in (math.inf, time.monotonic() + 1e15):
        assert (await plane.serve.infer(request(ONE, deadline=deadline))).version == "1"


class SlowToTell(TinyEngine):
    """An engine that takes its time to say what it serves."""

    async def snapshot(self) -> Snapshot:
        """Never, as far as the test is concerned."""
        await asyncio.sleep(60)
        return await super().snapshot()


async def test_a_deadline_holds_while_the_engine_is_asked_what_it_serves() -> None:
    """A server that hangs holds nobody longer than they said they would wait."""
    plane = Plane(SlowToTell(servable()))
    with pytest.raises(DeadlineError, match="the deadline passed"):
        await plane.serve.infer(request(ONE, deadline=time.monotonic() + 0.05))
    assert plane.admission.inflight == 0


async def test_a_draining_gateway_is_not_ready_and_answers() -> None:
    """So that others send elsewhere, and nothing that comes meanwhile is lost."""
    plane = Plane(TinyEngine(servable()))
    await plane.serve.infer(request(ONE))
    plane.serve.drain()
    assert not await plane.serve.ready()
    assert not await plane.serve.model_ready("m", "")
    assert plane.serve.live()
    await plane.serve.infer(request(ONE))
    assert plane.serve.answered_draining == 1


async def test_a_gateway_whose_processes_stay_away_does_not_live() -> None:
    """Whoever watches them says so."""
    engine = TinyEngine()
    telemetry = Telemetry()
    batcher = Batcher(engine, telemetry, max_in_flight=1, max_waiting=1)
    plane = DataPlane(
        engine=engine,
        catalogue=Catalogue(engine, LocalGeneration()),
        admission=Admission(per_model=1, total=1),
        batcher=batcher,
        telemetry=telemetry,
        shadowing=Shadowing(batcher, telemetry),
        alive=lambda: False,
    )
    assert not plane.live()


async def test_a_decoupled_model_answers_each_and_not_once() -> None:
    """Its answers may overtake those of others; a plain model's may not."""
    plane = Plane(TinyEngine(replace(servable(), decoupled=True)))
    with pytest.raises(UnsupportedError, match="ask it by ModelStreamInfer"):
        await plane.serve.infer(request(ONE))
    told: list[tuple[int, bool, bool]] = []

    async def each(response: InferResponse, *, final: bool, in_order: bool) -> None:
        told.append((len(response.outputs), final, in_order))

    await plane.serve.infer_each(request(ONE), each)
    assert told == [(1, False, False), (1, False, False), (0, True, False)]
    told.clear()
    await Plane(TinyEngine(servable())).serve.infer_each(request(ONE), each)
    assert told == [(1, True, True)]


async def test_answers_leave_nothing_to_the_collector() -> None:
    """What an inference held is free at once: its tensors are large, and the collector is slow."""
    plane = Plane(TinyEngine(servable(max_batch_size=4)), per_model=100, total=100, waiting=100)
    told: list[object] = []
    left = -1
    for _ in range(2):  # the first time makes what stays
        await plane.serve.infer(request(ONE))
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                plane.serve.begin(request(ONE), told.append)
            async with asyncio.timeout(10):
                while len(told) < 20:  # noqa: ASYNC110 - a list, which tells nobody when it grows
                    await asyncio.sleep(0.005)
            await turns()  # the last batch's task ends
            told.clear()
            left = gc.collect()
        finally:
            gc.enable()
    assert left == 0
