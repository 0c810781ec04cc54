from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.engines.in_process import InProcessEngine, OpenModel, Stop
from service.errors import (
    ConfigurationError,
    EngineError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from service.protocol.messages import Parameter, Tensor
from service.repository.ledger import Ledger
from service.telemetry import Telemetry
from tests.unit.doubles import double, fp32

CONFIG = """
max_batch_size: 4
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }
"""
ALL = "version_policy { all { } }"


class Doubling:
    """A model that doubles, and fails on negative numbers."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def run(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],  # noqa: ARG002 - it has but one
        parameters: Mapping[str, Parameter],  # noqa: ARG002 - it takes none
        stop: Stop,  # noqa: ARG002 - and is done at once
    ) -> Mapping[str, Tensor]:
        """Double, once the gate is open."""
        self.gate.wait(5)
        if (inputs["x"].array < 0).any():
            raise EngineError("negative")
        return double(inputs)


def open_doubling(config: dict[str, Any], folder: Path) -> tuple[dict[str, Any], OpenModel]:
    """Opens any version whose file is there."""
    if not (folder / "model").read_text():
        raise InvalidRequestError(f"model {config['name']!r}: the file is empty")
    return config, Doubling()


class Bench:
    """A repository, a ledger's folder, and engines on both."""

    def __init__(self, root: Path) -> None:
        self.repository = root / "repository"
        self.run_dir = root / "run"
        self.repository.mkdir()
        self.run_dir.mkdir()
        self.ledgers: list[Ledger] = []
        self.telemetry = Telemetry()

    def put(self, model: str, *versions: int, config: str = CONFIG, file: str = "x") -> None:
        """Write a model of these versions, each with a file of this content."""
        for version in versions:
            folder = self.repository / model / str(version)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model").write_text(file)
        (self.repository / model).mkdir(exist_ok=True)
        (self.repository / model / "config.pbtxt").write_text(config)

    def engine(self) -> InProcessEngine:
        """Another worker's engine."""
        self.ledgers.append(Ledger(self.run_dir))
        return InProcessEngine(
            "test", self.repository, open_doubling, self.ledgers[-1], self.telemetry, threads=2
        )

    async def started(self) -> InProcessEngine:
        """The same, started."""
        engine = self.engine()
        await engine.start()
        return engine


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An empty repository."""
    found = Bench(tmp_path)
    yield found
    for ledger in found.ledgers:
        ledger.close()


async def index(engine: InProcessEngine) -> dict[str, str]:
    """`model/version` to its state, with the reason where there is one."""
    return {
        f"{s.name}/{s.version}".rstrip("/"): f"{s.state} {s.reason}".strip()
        for s in (await engine.snapshot()).index
    }


async def ask(engine: InProcessEngine, model: str, version: str, value: float = 1) -> Any:
    servable = (await engine.snapshot()).servables[model][version]
    found = await engine.infer(
        servable, [{"x": fp32([[value]])}], ("y",), parameters={}, deadline=0.0
    )
    return found["y"].array.tolist()


async def test_everything_in_the_repository_is_loaded_and_answers(bench: Bench) -> None:
    """Without anybody asking for it."""
    bench.put("a", 1)
    bench.put("b", 3)
    engine = await bench.started()
    assert await index(engine) == {"a/1": "READY", "b/3": "READY"}
    assert await ask(engine, "b", "3", 21) == [[42]]
    await engine.stop()


@pytest.mark.parametrize(
    ("policy", "ready"),
    [
        ("", ["10"]),
        ("version_policy { latest { num_versions: 2 } }", ["9", "10"]),
        (ALL, ["1", "9", "10"]),
        ("version_policy { specific { versions: [ 1 ] } }", ["1"]),
    ],
)
async def test_the_version_policy_says_what_is_loaded(
    bench: Bench, policy: str, ready: list[str]
) -> None:
    """As Triton reads it."""
    bench.put("m", 1, 9, 10, config=CONFIG + policy)
    engine = await bench.started()
    assert list((await engine.snapshot()).servables["m"]) == ready
    await engine.stop()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"config": "max_batch_size: x"}, "config.pbtxt of 'bad'"),
        ({"config": 'name: "other"'}, "names the model 'other'"),
        ({"config": CONFIG + "version_policy { specific { versions: [ 7 ] } }"}, "asks for [7]"),
        ({"config": "max_batch_size: -1"}, "max_batch_size is -1"),
        ({"file": ""}, "the file is empty"),
    ],
)
async def test_a_bad_model_shows_with_its_reason_and_harms_no_good_one(
    bench: Bench, bad: dict[str, str], reason: str
) -> None:
    """The gateway starts, and serves what it can."""
    bench.put("good", 1)
    bench.put("bad", 1, **bad)
    engine = await bench.started()
    found = await index(engine)
    assert found["good/1"] == "READY"
    assert found["bad"].startswith("UNAVAILABLE ")
    assert reason in found["bad"]
    assert await ask(engine, "good", "1") == [[2]]
    with pytest.raises(InvalidRequestError) as refused:
        await engine.load("bad")
    assert reason in refused.value.message
    await engine.stop()


async def test_a_model_without_versions_or_with_an_unreadable_one_is_a_bad_one(
    bench: Bench,
) -> None:
    """Whatever the file system has against it."""
    bench.put("none")
    bench.put("unreadable", 1)
    (bench.repository / "unreadable/1/model").unlink()
    engine = await bench.started()
    found = await index(engine)
    assert "has no version" in found["none"]
    assert "cannot be read" in found["unreadable"]
    await engine.stop()


async def test_a_repository_that_is_no_folder_is_refused_at_the_start(bench: Bench) -> None:
    """And stopping what never started is safe."""
    shutil.rmtree(bench.repository)
    engine = bench.engine()
    with pytest.raises(ConfigurationError, match="is no folder"):
        await engine.start()
    assert not await engine.healthy()
    await engine.stop()


async def test_a_repository_that_vanishes_later_leaves_what_is_loaded(bench: Bench) -> None:
    """It cannot be looked at, and its models still answer."""
    bench.put("m", 1)
    engine = await bench.started()
    servable = (await engine.snapshot()).servables["m"]["1"]
    shutil.rmtree(bench.repository)
    with pytest.raises(UnavailableError, match="repository cannot be read"):
        await engine.snapshot()
    inputs = {"x": fp32([[1]])}
    assert await engine.infer(servable, [inputs], ("y",), parameters={}, deadline=0.0)
    await engine.stop()


async def test_an_unloaded_model_is_gone_until_it_is_loaded_again(bench: Bench) -> None:
    """It shows as unloaded meanwhile, and other models do not care."""
    bench.put("m", 1)
    bench.put("other", 1)
    engine = await bench.started()
    servable = (await engine.snapshot()).servables["m"]["1"]
    await engine.unload("m")
    assert await index(engine) == {"m": "UNAVAILABLE unloaded", "other/1": "READY"}
    with pytest.raises(NotFoundError, match="'m' version 1 is not loaded any more"):
        await engine.infer(servable, [{"x": fp32([[1]])}], ("y",), parameters={}, deadline=0.0)
    assert await ask(engine, "other", "1") == [[2]]
    await engine.load("m")
    assert await ask(engine, "m", "1") == [[2]]
    await engine.stop()


async def test_loading_again_finds_what_is_new_on_disk(bench: Bench) -> None:
    """New versions, new configs, new models."""
    bench.put("m", 1)
    engine = await bench.started()
    bench.put("m", 2, config=CONFIG + ALL)
    await engine.load("m")
    bench.put("new", 1)
    await engine.load("new")
    assert await index(engine) == {"m/1": "READY", "m/2": "READY", "new/1": "READY"}
    await engine.stop()


async def test_a_load_that_fails_leaves_what_served_before(bench: Bench) -> None:
    """All or nothing."""
    bench.put("m", 1)
    engine = await bench.started()
    bench.put("m", 2, file="")
    with pytest.raises(InvalidRequestError, match="the file is empty"):
        await engine.load("m")
    assert await index(engine) == {"m/1": "READY"}
    assert await ask(engine, "m", "1") == [[2]]
    await engine.stop()


async def test_a_load_that_fails_after_an_unload_tells_its_reason(bench: Bench) -> None:
    """The index shows the last word."""
    bench.put("m", 1)
    engine = await bench.started()
    await engine.unload("m")
    bench.put("m", 1, file="")
    with pytest.raises(InvalidRequestError):
        await engine.load("m")
    assert "the file is empty" in (await index(engine))["m"]
    await engine.stop()


@pytest.mark.parametrize("name", ["nobody", "../etc", ""])
async def test_loading_or_unloading_what_is_not_there_is_not_found(bench: Bench, name: str) -> None:
    """And leaves no order behind."""
    engine = await bench.started()
    for verb in (engine.load, engine.unload):
        with pytest.raises(NotFoundError):
            await verb(name)
    assert bench.ledgers[0].orders() == {}
    await engine.stop()


async def test_a_model_whose_folder_is_gone_can_still_be_unloaded(bench: Bench) -> None:
    """Until then it is served, and shows."""
    bench.put("m", 1)
    engine = await bench.started()
    shutil.rmtree(bench.repository / "m")
    assert await index(engine) == {"m/1": "READY"}
    await engine.unload("m")
    assert await index(engine) == {}
    await engine.stop()


async def test_two_engines_on_one_ledger_follow_each_other(bench: Bench) -> None:
    """What one worker loads or unloads, the others do before they answer again."""
    bench.put("m", 1)
    one, other = await bench.started(), await bench.started()
    await one.unload("m")
    assert await index(other) == {"m": "UNAVAILABLE unloaded"}
    bench.put("m", 2)
    await other.load("m")
    assert await index(one) == await index(other) == {"m/2": "READY"}
    assert await ask(one, "m", "2") == [[2]]
    bench.put("m", 3)
    await one.load("m")
    assert await index(other) == {"m/3": "READY"}
    for engine in (one, other):
        await engine.stop()


async def test_an_order_is_followed_once(bench: Bench) -> None:
    """A worker that did what it was told does not do it again at every look."""
    bench.put("m", 1)
    one, other = await bench.started(), await bench.started()
    await one.load("m")
    servables = [(await e.snapshot()).servables["m"]["1"] for e in (one, other) for _ in range(2)]
    assert servables[0] is servables[1]
    assert servables[2] is servables[3]
    for engine in (one, other):
        await engine.stop()


async def test_a_worker_that_starts_later_follows_what_was_ordered_before(bench: Bench) -> None:
    """A respawned worker loads nothing that was unloaded."""
    bench.put("m", 1)
    one = await bench.started()
    await one.unload("m")
    later = await bench.started()
    assert await index(later) == {"m": "UNAVAILABLE unloaded"}
    for engine in (one, later):
        await engine.stop()


async def test_runs_are_counted_well_or_not(bench: Bench) -> None:
    """Rows and runs, failures apart, in the shape of Triton's statistics."""
    bench.put("m", 1, 2, config=CONFIG + ALL)
    bench.put("other", 1)
    engine = await bench.started()
    for _ in range(2):
        await ask(engine, "m", "1")
    with pytest.raises(EngineError, match="negative"):
        await ask(engine, "m", "1", -1)
    (found,) = await engine.statistics("m", "1")
    assert (found["inference_count"], found["execution_count"]) == (2, 2)
    assert found["inference_stats"]["success"]["count"] == 2
    assert found["inference_stats"]["success"]["ns"] > 0
    assert found["inference_stats"]["fail"]["count"] == 1
    assert [s["version"] for s in await engine.statistics("m", "")] == ["1", "2"]
    assert len(await engine.statistics("", "")) == 3
    assert await engine.statistics("nobody", "") == []
    await engine.stop()


async def test_stopping_waits_for_the_runs_under_way_and_begins_no_more(bench: Bench) -> None:
    """Who is being answered is answered; who comes later hears that the engine is away."""
    bench.put("m", 1)
    engine = await bench.started()
    servable = (await engine.snapshot()).servables["m"]["1"]
    model = engine._loaded["m"].opened["1"]
    assert isinstance(model, Doubling)
    model.gate.clear()
    running = asyncio.ensure_future(ask(engine, "m", "1"))
    await asyncio.sleep(0.01)
    stopping = asyncio.ensure_future(engine.stop())
    await asyncio.sleep(0.01)
    assert not await engine.healthy()
    with pytest.raises(UnavailableError, match="not running"):
        await engine.infer(servable, [{"x": fp32([[1]])}], ("y",), parameters={}, deadline=0.0)
    assert not stopping.done()
    model.gate.set()
    assert await running == [[2]]
    await stopping
    await engine.stop()


async def test_runs_share_the_threads_there_are(bench: Bench) -> None:
    """Two at once where there are two threads."""
    bench.put("m", 1)
    engine = await bench.started()
    model = engine._loaded["m"].opened["1"]
    assert isinstance(model, Doubling)
    model.gate.clear()
    tasks = [asyncio.ensure_future(ask(engine, "m", "1", i)) for i in range(5)]
    await asyncio.sleep(0.01)
    model.gate.set()
    assert await asyncio.gather(*tasks) == [[[2 * i]] for i in range(5)]
    await engine.stop()
