"""An alias moves in a real MLflow server, and the traffic through a real Triton follows."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from benchmarks.harness.gateway import LUPINE, Running, gateway
from benchmarks.harness.registered import Registered
from benchmarks.harness.registry import registry
from tests.graphs import plus
from tests.requires import require_triton_runtime

pytestmark = pytest.mark.triton
MODEL = "plus"


@dataclass
class Served:
    """A registry, a gateway, and the folder that they meet in."""

    url: str
    running: Running
    repository: Path
    registered: Registered

    def sync(self, *words: str, code: int = 0) -> str:
        """Run `lupine sync`; gives what it says."""
        port = self.running.port
        done = subprocess.run(
            [LUPINE, "sync", *words, "--repository", str(self.repository)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"MLFLOW_TRACKING_URI": self.url, "LUPINE_SERVER__PORT": str(port)},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def publish(self, amount: float, alias: str) -> str:
        """Register a version that adds an amount, and point an alias at it."""
        version = self.registered.version(MODEL, {"model.onnx": plus(amount)})
        self.registered.alias(MODEL, alias, version)
        return version


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """MLflow and a gateway with two workers in front of Triton, with nothing to serve yet."""
    require_triton_runtime()
    folder = tmp_path_factory.mktemp("sync")
    repository = folder / "models"
    repository.mkdir()
    with (
        registry(folder) as url,
        gateway("--repository", str(repository), "--engine", "triton", "--workers", "2") as running,
    ):
        registered = Registered(url)
        registered.model(MODEL)
        yield Served(url, running, repository, registered)
        registered.close()


@dataclass
class Callers:
    """Threads that ask without a pause, over both wires, and look at each answer."""

    served: Served
    asked: int = 0
    wrong: list[Any] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)

    def over_http(self) -> None:
        """JSON."""
        x = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [0, 0, 0]}
        with httpx.Client(base_url=self.served.running.url, timeout=30) as client:
            while not self.ended.is_set():
                allowed = set(self.expected)
                answer = client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [x]})
                if answer.status_code != 200:
                    self.wrong.append(answer.text)
                    continue
                found = answer.json()
                self.look(allowed, found["model_version"], found["outputs"][0]["data"][0])

    def over_grpc(self) -> None:
        """An unmodified tritonclient."""
        tensor = triton.InferInput("x", [1, 3], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 3), np.float32))
        with triton.InferenceServerClient(self.served.running.grpc_url) as client:
            while not self.ended.is_set():
                allowed = set(self.expected)
                try:
                    answer = client.infer(MODEL, [tensor], client_timeout=30)
                except triton.InferenceServerException as error:
                    self.wrong.append(str(error))
                    continue
                version = answer.get_response().model_version
                self.look(allowed, version, float(answer.as_numpy("y")[0, 0]))

    def look(self, allowed: set[str], version: str, amount: float) -> None:
        """The version is one of those that it may be, and the value is that version's own."""
        self.asked += 1
        if version not in allowed | self.expected or amount != float(version):
            self.wrong.append((version, amount, allowed, set(self.expected)))


def test_nothing_is_dropped_while_aliases_move(served: Served) -> None:
    """Publish, promote and roll back under callers on both wires.

    No request fails; each answer is the named version's own; and from the moment at which the flip
    is reported, no request that is sent then is answered by another version.
    """
    assert served.publish(1.0, "champion") == "1"
    assert f"{MODEL}@champion: nothing → 1" in served.sync("once")
    callers = Callers(served, expected={"1"})
    threads = [
        threading.Thread(target=target)
        for target in (callers.over_http, callers.over_grpc)
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    try:
        champion = "1"
        for amount in (2.0, 3.0):
            version = served.publish(amount, "challenger")
            served.sync("once")
            _flip(callers, champion, version, served)
            champion = version
        callers.expected = {"2", "3"}
        assert f"{MODEL}@champion: 3 → 2" in served.sync("rollback", MODEL)
        callers.expected = {"2"}
        time.sleep(1)
    finally:
        callers.ended.set()
        for thread in threads:
            thread.join()
    assert callers.wrong == []
    assert callers.asked > 500
    assert served.registered.aliases(MODEL)["champion"] == "2"
    state = json.loads(served.sync("status", "--json"))
    assert state["models"][MODEL]["routes"] == {"champion": "2", "challenger": "3"}
    metrics = httpx.get(f"{served.running.url}/metrics").text
    assert f'lupine_alias_version{{alias="champion",model="{MODEL}"}} 2.0' in metrics


def _flip(callers: Callers, old: str, new: str, served: Served) -> None:
    """The champion moves; until the sync has said so, either version may answer."""
    callers.expected = {old, new}
    served.registered.alias(MODEL, "champion", new)
    assert f"{MODEL}@champion: {old} → {new}" in served.sync("once")
    callers.expected = {new}
    time.sleep(1)


def test_aliases_are_addressed_over_grpc(served: Served) -> None:
    """`plus@challenger`, by an unmodified client; an alias that is not there is NOT_FOUND."""
    tensor = triton.InferInput("x", [1, 3], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 3), np.float32))
    with triton.InferenceServerClient(served.running.grpc_url) as client:
        answer = client.infer(f"{MODEL}@challenger", [tensor])
        assert (answer.get_response().model_version, answer.as_numpy("y")[0, 0]) == ("3", 3.0)
        with pytest.raises(triton.InferenceServerException, match="no alias 'nobody'"):
            client.infer(f"{MODEL}@nobody", [tensor])
