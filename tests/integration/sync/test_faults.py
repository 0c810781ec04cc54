"""The registry sync where something is wrong: it is told by name, and what served serves on."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.harness import adding
from service.errors import ConfigurationError
from service.registry.state import StateFolder
from service.registry.sync import Report
from tests.syncing import Bench, Benches, away


def _slow(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("timed out", request=request)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (away, "does not answer: connection refused"),
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
    assert told in alone.complaint()
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


def test_a_gateway_that_cannot_be_told_is_reported(benches: Benches) -> None:
    """The routes are written all the same: workers look by themselves; nothing is done twice."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Deaf) as deaf:
        thread = threading.Thread(target=deaf.serve_forever)
        thread.start()
        try:
            here = benches("deaf", url=f"http://127.0.0.1:{deaf.server_port}")
            here.publish(1.0)
            assert "/lupine/v1/routes with 500" in here.complaint()
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
    assert "serves on" in served.complaint()
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
    assert f"came with {half:,} of {len(content):,} bytes" in alone.complaint()
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
    alone.publish(1.0, files=files, tags=tags)
    assert told in alone.complaint()
    assert list(alone.repository.iterdir()) == []
    asked = len(alone.network.asked)
    assert told in alone.complaint()
    assert len(alone.network.asked) == asked + 1  # it is not fetched again
    alone.publish(2.0)
    assert alone.sync.once().wrong == ()
    assert alone.versions() == ["2"]


def test_a_changed_signature_is_refused(served: Bench) -> None:
    """Other inputs under the same name would break its callers: the old version serves on."""
    served.publish(1.0)
    served.sync.once()
    served.publish(2.0, content=adding.model(2.0, columns=4))
    assert "a changed signature needs a model of its own name" in served.complaint()
    assert served.infer() == (1.0, "1")


def test_lost_versions_and_aliases_serve_on(served: Bench) -> None:
    """The alias is deleted, then the version, then the model is renamed: it serves, and is told."""
    served.publish(1.0)
    served.sync.once()
    served.registered.delete_alias(served.name, "champion")
    served.publish(2.0, "challenger")
    assert "has no alias champion any more: version 1 serves on" in served.complaint()
    served.registered.delete_version(served.name, "1")
    served.sync.once()
    assert served.infer() == (1.0, "1")
    served.registered.rename(served.name, f"{served.name}_new")
    assert "is not in the registry any more" in served.complaint()
    assert served.infer() == (1.0, "1")


def test_a_full_disk_is_told_and_heals(alone: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is half there, and when there is room it comes."""
    alone.publish(1.0)
    usage = shutil.disk_usage("/")
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
        assert "the disk has 10 bytes left" in alone.complaint()
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
