"""The registry sync: an alias is served; canaries, shadows, what retires and what is selected."""

from __future__ import annotations

import pytest

from benchmarks.harness import adding
from benchmarks.harness.registered import Registered
from service.registry.sync import Report
from tests.syncing import Bench, Benches, away


def test_an_alias_moves_and_the_traffic_follows(served: Bench) -> None:
    """Publish, promote, roll back: the answers come from the version that the alias names."""
    assert served.publish(1.0) == "1"
    report = served.sync.once()
    assert report.wrong == ()
    assert served.infer() == (1.0, "1")
    config = (served.repository / served.name / "config.pbtxt").read_text()
    assert "versions: 1" in config

    served.publish(2.0, "challenger")
    served.sync.once()
    assert served.infer() == (1.0, "1")
    assert served.infer(f"{served.name}@challenger") == (2.0, "2")

    served.registered.alias(served.name, "champion", "2")
    before = len(served.network.asked)
    assert served.sync.once().done == (f"{served.name}@champion: 1 → 2",)
    assert len(served.network.asked) - before == 1  # one search, and no download
    assert served.infer() == (2.0, "2")

    before = len(served.network.asked)
    report = served.sync.roll_back(served.name)
    assert f"{served.name}@champion: 2 → 1" in report.done
    assert served.infer() == (1.0, "1")
    assert len(served.network.asked) - before == 1  # the alias, and no download
    assert served.registered.aliases(served.name)["champion"] == "1"
    served.sync.once()
    assert served.infer() == (1.0, "1")


def test_a_canary_is_a_tag_on_a_version(served: Bench) -> None:
    """The share goes with the tag, up and down; a tag that is none is told; the champion serves."""
    served.publish(1.0)
    version = served.publish(2.0, "challenger", tags={"lupine.canary": "1"})
    assert f"{served.name}: canary version 2 answers 100.00%" in served.sync.once().done
    assert served.infer() == (2.0, "2")
    assert served.infer(f"{served.name}@champion") == (1.0, "1")
    served.registered.tag(served.name, version, "lupine.canary", "much")
    assert "the tag lupine.canary is 'much': 0 to 1 is right" in served.complaint()
    served.registered.tag(served.name, version, "lupine.canary", "0")
    assert f"{served.name}: canary ended" in served.sync.once().done
    assert served.infer() == (1.0, "1")
    served.registered.tag(served.name, version, "lupine.canary", "0.5")
    served.sync.once()
    served.registered.alias(served.name, "champion", version)
    served.sync.once()
    assert served.folder.read().models[served.name].canary is None
    assert served.infer() == (2.0, "2")


def test_who_names_a_key_meets_the_same_version_each_time(served: Bench) -> None:
    """By a header or by the request's id; about half of many keys meet the canary."""
    served.publish(1.0)
    served.publish(2.0, "challenger", tags={"lupine.canary": "0.5"})
    served.sync.once()
    keys = [f"user-{number}" for number in range(40)]
    by_header = [served.infer(headers={"X-Lupine-Key": key})[1] for key in keys]
    assert by_header == [served.infer(headers={"x-lupine-key": key})[1] for key in keys]
    assert by_header == [served.infer(id=key)[1] for key in keys]
    # What is traced, or logged, takes another way through the gateway.
    traced = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    ways = [served.infer(headers={"X-Lupine-Key": key, **traced})[1] for key in keys]
    assert by_header == ways
    assert 5 < by_header.count("2") < 35


def test_a_shadow_is_compared_and_never_heard(served: Bench) -> None:
    """Its tag says how many see it; a version that agrees, and one that does not."""
    served.publish(1.0)
    served.publish(1.0005, "challenger", tags={"lupine.shadow": "1"})
    assert f"{served.name}: shadow version 2 sees 100.00%" in served.sync.once().done
    served.await_shadow("agreed")
    other = served.publish(3.0, "challenger", tags={"lupine.shadow": "1"})
    served.sync.once()
    served.await_shadow("disagreed")
    served.registered.tag(served.name, other, "lupine.shadow_tolerance", "close")
    assert "lupine.shadow_tolerance is 'close'" in served.complaint()
    served.registered.tag(served.name, other, "lupine.shadow", "0")
    assert f"{served.name}: shadow ended" in served.sync.once().done


def test_an_idle_poll_is_one_call(alone: Bench) -> None:
    """Where nothing has changed, the registry is asked once, and nothing is written."""
    alone.publish(1.0)
    alone.sync.once()
    written = (alone.folder.path / "state.json").stat().st_ino
    before = len(alone.network.asked)
    assert alone.sync.once() == Report(done=(), wrong=())
    assert alone.network.asked[before:] == ["/api/2.0/mlflow/registered-models/search"]
    assert (alone.folder.path / "state.json").stat().st_ino == written


def test_old_versions_retire_and_the_last_ones_stay(benches: Benches) -> None:
    """After five versions the latest three are there, and rolling back needs no registry."""
    here = benches("retiring", keep_versions=3)
    for amount in range(1, 6):
        here.publish(float(amount))
        here.sync.once()
    assert here.versions() == ["3", "4", "5"]
    here.network.fault = away
    report = here.sync.roll_back("retiring")
    assert "retiring@champion: 5 → 4" in report.done
    assert "stays in the registry" in report.wrong[0]
    here.network.fault = lambda _: None
    here.sync.once()
    assert here.folder.read().models["retiring"].routes == {"champion": "4"}
    here.publish(6.0)
    here.sync.once()
    assert here.folder.read().models["retiring"].routes == {"champion": "6"}


@pytest.mark.parametrize(
    ("chosen", "there"),
    [
        ({"select": "tag"}, {"sel-a"}),
        ({"select": "names", "names": "sel-b, nobody"}, {"sel-b"}),
        ({"select": "prefix", "prefix": "sel-"}, {"sel-a", "sel-b"}),
    ],
    ids=["tag", "names", "prefix"],
)
@pytest.mark.usefixtures("both")
def test_only_what_is_selected_is_served(
    benches: Benches, chosen: dict[str, str], there: set[str]
) -> None:
    """By the model's tag, which is the default; by names; by a prefix."""
    here = benches("", **chosen)
    here.sync.once()
    assert {path.name for path in here.repository.iterdir()} & {"sel-a", "sel-b"} == there


@pytest.fixture(scope="module")
def both(registry_url: str) -> None:
    """Two models, of which one has the tag."""
    registered = Registered(registry_url)
    for name, serve in (("sel-a", True), ("sel-b", False)):
        registered.model(name, serve=serve)
        version = registered.version(name, {"model.onnx": adding.model(1.0)})
        registered.alias(name, "champion", version)
    registered.close()


def test_what_was_there_before_is_adopted_and_never_deleted(alone: Bench) -> None:
    """A repository may hold versions already: they stay, and the same bytes are one version."""
    folder = alone.repository / alone.name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(adding.model(1.0))
    (folder / "config.pbtxt").write_text(
        'backend: "onnxruntime" max_batch_size: 64\n'
        'input { name: "x" data_type: TYPE_FP32 dims: 1 }\n'
        'output { name: "y" data_type: TYPE_FP32 dims: 1 }\n'
    )
    alone.publish(1.0)
    assert alone.sync.once().wrong == ()
    for amount in (2.0, 3.0, 4.0, 5.0):
        alone.publish(amount)
        assert alone.sync.once().wrong == ()
    assert "1" in alone.versions()
    assert "2" not in alone.versions()
