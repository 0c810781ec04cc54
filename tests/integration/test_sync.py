"""The registry sync: a real MLflow server on one side, a gateway that serves on the other."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.harness import adding
from benchmarks.harness.gateway import free_port
from benchmarks.harness.registered import Registered
from service.errors import ConfigurationError
from service.registry.gateway_client import GatewayClient
from service.registry.mlflow import MlflowRegistry
from service.registry.state import StateFolder
from service.registry.sync import Report, Sync
from service.repository.routes import folder_of
from service.settings import RegistrySettings, Repository
from tests.serving import Serving, serving, settings


class Faulty(httpx.HTTPTransport):
    """The network, until a test breaks it: takes a request to an answer, or to None."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
        self.asked: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer by the fault, or ask the registry."""
        self.asked.append(request.url.path)
        return self.fault(request) or super().handle_request(request)


@dataclass
class Bench:
    """A registry, a sync, and the gateway that it is for."""

    name: str
    registered: Registered
    network: Faulty
    sync: Sync
    folder: StateFolder
    repository: Path
    served: Serving | None

    def publish(self, amount: float, alias: str = "champion", **more: Any) -> str:
        """Register a version that adds an amount, and point an alias at it."""
        content = more.pop("content", None) or adding.model(amount)
        files = more.pop("files", None) or {"model.onnx": content}
        version = self.registered.version(self.name, files, more.pop("tags", None))
        self.registered.alias(self.name, alias, version)
        return version

    def await_shadow(self, outcome: str) -> None:
        """Ask until a copy has this outcome; every answer is the champion's, which is version 1."""
        assert self.served is not None
        sample = f'lupine_shadow_total{{model="{self.name}",outcome="{outcome}"}}'
        for _ in range(500):
            assert self.infer() == (1.0, "1")
            if sample in self.served.gateway.telemetry.exposition().decode():
                return
        raise AssertionError(sample)

    def infer(
        self, model: str = "", headers: dict[str, str] | None = None, **more: str
    ) -> tuple[float, str]:
        """What the gateway adds to 0, and the version that did."""
        assert self.served is not None
        x = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0]}
        answer = httpx.post(
            f"{self.served.url}/v2/models/{model or self.name}/infer",
            json={"inputs": [x], **more},
            headers=headers,
        )
        found = answer.raise_for_status().json()
        return found["outputs"][0]["data"][0], found["model_version"]

    def refused(self) -> str:
        """Why the one version that is not served is not."""
        (refusal,) = self.folder.read().refused.values()
        return refusal.reason

    def versions(self) -> list[str]:
        """What is in the repository."""
        return sorted(p.name for p in (self.repository / self.name).iterdir() if p.is_dir())


Benches = Callable[..., Bench]


@pytest.fixture
def benches(registry_url: str, tmp_path: Path) -> Iterator[Benches]:
    """Makes what a test needs, and lets the connections go."""
    (tmp_path / "models").mkdir()
    nobody = f"http://127.0.0.1:{free_port()}"
    with ExitStack() as open_ones:

        def make(
            name: str, served: Serving | None = None, url: str = nobody, **chosen: Any
        ) -> Bench:
            network = Faulty()
            source, registered = MlflowRegistry(registry_url, {}, network), Registered(registry_url)
            gateway = GatewayClient(served.url if served else url, "")
            for one in (source, registered, gateway):
                open_ones.callback(one.close)
            if "select" not in chosen:
                chosen = {"select": "names", "names": name, **chosen}
                registered.model(name, serve=False)
            repository = tmp_path / "models"
            folder = StateFolder(folder_of(Repository(path=repository)))
            wanted = RegistrySettings.model_validate(chosen)
            sync = Sync(source, repository, folder, settings=wanted, gateway=gateway)
            return Bench(name, registered, network, sync, folder, repository, served)

        yield make


def _named(request: pytest.FixtureRequest) -> str:
    """A model's name that no other test has."""
    return "t-" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]


@pytest.fixture
def served(benches: Benches, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A gateway, ONNX Runtime in process, with an empty repository."""
    (tmp_path / "run").mkdir()
    with serving(settings(tmp_path / "models", "onnx"), tmp_path / "run") as started:
        yield benches(_named(request), started)


@pytest.fixture
def alone(benches: Benches, request: pytest.FixtureRequest) -> Bench:
    """The sync without a gateway that runs."""
    return benches(_named(request))


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
    assert "the tag lupine.canary is 'much': 0 to 1 is right" in served.sync.once().wrong[0]
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
    assert "lupine.shadow_tolerance is 'close'" in served.sync.once().wrong[0]
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
    here.network.fault = _away
    report = here.sync.roll_back("retiring")
    assert "retiring@champion: 5 → 4" in report.done
    assert "stays in the registry" in report.wrong[0]
    here.network.fault = lambda _: None
    here.sync.once()
    assert here.folder.read().models["retiring"].routes == {"champion": "4"}
    here.publish(6.0)
    here.sync.once()
    assert here.folder.read().models["retiring"].routes == {"champion": "6"}


def _away(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def _slow(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("timed out", request=request)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (_away, "does not answer: connection refused"),
        (_slow, "does not answer: timed out"),
        (lambda _: httpx.Response(500, text="the database is locked"), "500: the database is"),
        (lambda _: httpx.Response(401, text="who are you?"), "MLFLOW_TRACKING_USERNAME"),
        (lambda _: httpx.Response(200, text="<html>a proxy</html>"), "no JSON object: is it MLf"),
        (lambda _: httpx.Response(200, json={"registered_models": 7}), "no list of objects"),
    ],
    ids=["down", "slow", "500", "401", "proxy", "nonsense"],
)
def test_a_registry_in_trouble_ends_nothing(
    alone: Bench, fault: Callable[[httpx.Request], httpx.Response], told: str
) -> None:
    """What served stays routed, the trouble is told, and the next sync heals."""
    alone.publish(1.0)
    alone.sync.once()
    alone.publish(2.0)
    alone.network.fault = fault
    report = alone.sync.once()
    assert told in report.wrong[0]
    assert told in alone.folder.read().registry
    assert alone.folder.read().models[alone.name].routes == {"champion": "1"}
    alone.network.fault = lambda _: None
    assert alone.sync.once().wrong == ()
    assert alone.folder.read().models[alone.name].routes == {"champion": "2"}


class Deaf(BaseHTTPRequestHandler):
    """A gateway that loads, and does not listen when the routes have changed."""

    def do_GET(self) -> None:
        """It lives, and all is READY."""
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        """It loads."""
        self.send_response(500 if self.path.startswith("/lupine/") else 200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_gateway_that_cannot_be_told_is_reported(
    benches: Benches, request: pytest.FixtureRequest
) -> None:
    """The routes are written all the same: workers look by themselves; nothing is done twice."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Deaf) as deaf:
        thread = threading.Thread(target=deaf.serve_forever)
        thread.start()
        try:
            here = benches(_named(request), url=f"http://127.0.0.1:{deaf.server_port}")
            here.publish(1.0)
            assert "/lupine/v1/routes with 500" in here.sync.once().wrong[0]
            assert '"champion": "1"' in (here.folder.path / "routes.json").read_text()
            assert here.sync.once() == Report(done=(), wrong=())
        finally:
            deaf.shutdown()
            thread.join()


def test_an_empty_registry_deletes_nothing(served: Bench) -> None:
    """A registry that has lost everything is told, and the model serves on."""
    served.publish(1.0)
    served.sync.once()
    served.network.fault = lambda _: httpx.Response(200, json={})
    report = served.sync.once()
    assert "serves on" in report.wrong[0]
    assert served.infer() == (1.0, "1")


def test_a_truncated_download_is_gone_on_with(alone: Bench) -> None:
    """Half of the file came: nothing is published, and the next sync asks for the other half."""
    content = adding.model(1.0)
    half = len(content) // 2
    alone.publish(1.0, content=content)

    def breaks_off(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("model.onnx"):
            return None
        return httpx.Response(200, content=content[:half])

    alone.network.fault = breaks_off
    assert f"came with {half:,} of {len(content):,} bytes" in alone.sync.once().wrong[0]
    assert not (alone.repository / alone.name).exists()
    ranges = []

    def watched(request: httpx.Request) -> None:
        ranges.append(request.headers.get("range"))

    alone.network.fault = watched
    assert alone.sync.once().wrong == ()
    assert f"bytes={half}-" in ranges
    there = alone.repository / alone.name / "1" / "model.onnx"
    assert there.read_bytes() == content


@pytest.mark.parametrize(
    ("files", "tags", "told"),
    [
        (
            {"model.onnx": adding.model(1.0), "model.py": b"raise SystemExit"},
            {},
            "it has a model.py",
        ),
        ({"model.onnx": adding.model(1.0), "code/x.py": b""}, {}, "it brings code of its own"),
        ({"python_model.pkl": b"x"}, {}, "it has a python_model.pkl"),
        (
            {"model.onnx": adding.model(1.0), "model.plan": b"x"},
            {},
            "one of model.onnx or model.plan is",
        ),
        ({"weights.bin": b"x"}, {}, "there is weights.bin"),
        ({"model.onnx": b"not a model"}, {}, "model.onnx is no ONNX model"),
        (
            {"model.onnx": adding.model(1.0)},
            {"lupine.sha256": "0" * 64},
            "the tag lupine.sha256 says 000",
        ),
        (
            {"model.onnx": adding.model(1.0)},
            {"lupine.max_batch_size": "many"},
            "a whole number is right",
        ),
        ({"model.onnx": adding.model(1.0)}, {"lupine.priority": "-1"}, "lupine.priority is '-1'"),
        (
            {"model.onnx": adding.model(1.0), "config.pbtxt": b'backend: "python"'},
            {},
            "names 'python': only onnxruntime and tensorrt",
        ),
        (
            {"model.onnx": adding.model(1.0), "config.pbtxt": b'default_model_filename: "../x"'},
            {},
            "sets 'default_model_filename': allowed are",
        ),
        (
            {
                "model.onnx": adding.model(1.0),
                "config.pbtxt": b'parameters { key: "EXECUTION_ENV_PATH" '
                b'value { string_value: "/tmp" } }',
            },
            {},
            "sets the parameter 'EXECUTION_ENV_PATH'",
        ),
        (
            {"model.onnx": adding.model(1.0), "config.pbtxt": b"}"},
            {},
            "its config.pbtxt cannot be read",
        ),
        (
            {"model.onnx": adding.model(1.0), "config.pbtxt": b'name: "another"'},
            {},
            "is of the model 'another'",
        ),
        ({"model.plan": b"x"}, {}, "a plan needs its config.pbtxt"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_may_not_be_served_is_refused(
    alone: Bench, files: dict[str, bytes], tags: dict[str, str], told: str
) -> None:
    """By name, once, with nothing of it in the repository; a good version after it is served."""
    here = alone
    here.publish(1.0, files=files, tags=tags)
    report = here.sync.once()
    assert told in report.wrong[0]
    assert list(here.repository.iterdir()) == []
    asked = len(here.network.asked)
    assert told in here.sync.once().wrong[0]
    assert len(here.network.asked) == asked + 1  # it is not fetched again
    here.publish(2.0)
    assert here.sync.once().wrong == ()
    assert here.versions() == ["2"]


def test_a_changed_signature_is_refused(served: Bench) -> None:
    """Other inputs under the same name would break its callers: the old version serves on."""
    served.publish(1.0)
    served.sync.once()
    served.publish(2.0, content=adding.model(2.0, columns=4))
    assert "a changed signature needs a model of its own name" in served.sync.once().wrong[0]
    assert served.infer() == (1.0, "1")


def test_lost_versions_and_aliases_serve_on(served: Bench) -> None:
    """The alias is deleted, then the version, then the model is renamed: it serves, and is told."""
    served.publish(1.0)
    served.sync.once()
    served.registered.delete_alias(served.name, "champion")
    served.publish(2.0, "challenger")
    assert "has no alias champion any more: version 1 serves on" in served.sync.once().wrong[0]
    served.registered.delete_version(served.name, "1")
    served.sync.once()
    assert served.infer() == (1.0, "1")
    served.registered.rename(served.name, f"{served.name}_new")
    assert "is not in the registry any more" in served.sync.once().wrong[0]
    assert served.infer() == (1.0, "1")


def test_a_full_disk_is_told_and_heals(alone: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is half there, and when there is room it comes."""
    alone.publish(1.0)
    usage = shutil.disk_usage("/")
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
        assert "the disk has 10 bytes left" in alone.sync.once().wrong[0]
    assert not (alone.repository / alone.name).exists()
    assert alone.sync.once().wrong == ()


def test_two_syncs_of_one_repository(alone: Bench) -> None:
    """The second is told that there is a first."""
    with alone.folder.locked():
        other = StateFolder(alone.folder.path)
        with pytest.raises(ConfigurationError, match="another process syncs"), other.locked():
            pass
    with alone.folder.locked():
        pass


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


@pytest.mark.parametrize("step", range(12))
def test_a_sync_that_is_killed_is_gone_on_with(
    alone: Bench, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any of its writes, the sync leaves no torn state, and the next one ends the work.

    Every change of the disk goes through a rename or a write of `Path`: the n-th of them is the
    last that happens.
    """
    alone.publish(1.0)
    alone.sync.once()
    alone.publish(2.0)
    left = step

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return real(*arguments, **named)

        return call

    with monkeypatch.context() as fatal:
        for name in ("rename", "replace", "mkdir", "write_text", "unlink"):
            fatal.setattr(Path, name, dying(getattr(Path, name)))
        fatal.setattr(os, "open", dying(os.open))
        try:
            alone.sync.once()
        except Killed:
            pass
        else:
            assert left > 0
    routes = alone.folder.read().models[alone.name].routes
    assert routes["champion"] in alone.versions()
    assert alone.sync.once().wrong == ()
    assert alone.folder.read().models[alone.name].routes == {"champion": "2"}
    assert alone.versions() == ["1", "2"]
    assert (alone.repository / alone.name / "2" / "model.onnx").read_bytes() == adding.model(2.0)
    assert not any((alone.folder.path / "staging").iterdir())


class Killed(BaseException):
    """What no handler of ours may catch, as nobody catches SIGKILL."""
