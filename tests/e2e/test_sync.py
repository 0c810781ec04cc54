"""An alias moves in a real MLflow server, and the traffic through a real Triton follows."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from benchmarks.harness import adding
from benchmarks.harness.gateway import LUPINE, Running, gateway
from benchmarks.harness.registered import Registered
from benchmarks.harness.versioned import Answer, Callers
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
        told = {
            "MLFLOW_TRACKING_URI": self.url,
            "LUPINE_SERVER__PORT": str(self.running.port),
            "LUPINE_REGISTRY__SELECT": "names",
            "LUPINE_REGISTRY__NAMES": MODEL,
        }
        done = subprocess.run(
            [LUPINE, "sync", *words, "--repository", str(self.repository)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | told,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def publish(self, amount: float, alias: str) -> str:
        """Register a version that adds an amount, and point an alias at it."""
        version = self.registered.version(MODEL, {"model.onnx": adding.model(amount)})
        self.registered.alias(MODEL, alias, version)
        return version


@pytest.fixture(scope="module")
def served(registry_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """MLflow and a gateway with two workers in front of Triton, with nothing to serve yet."""
    require_triton_runtime()
    folder = tmp_path_factory.mktemp("sync")
    repository = folder / "models"
    repository.mkdir()
    flags = ("--repository", str(repository), "--engine", "triton", "--workers", "2")
    with gateway(*flags) as running:
        registered = Registered(registry_url)
        registered.model(MODEL, serve=False)
        yield Served(registry_url, running, repository, registered)
        registered.close()


@dataclass
class Expected:
    """The versions that may answer, from each moment on."""

    since: list[tuple[float, set[str]]] = field(default_factory=list)

    def from_now(self, *versions: str) -> None:
        """These may answer what is asked from now on."""
        self.since.append((time.monotonic(), set(versions)))

    def wrong(self, answer: Answer) -> str:
        """What is wrong with an answer: its own fault, or a version that was not to answer.

        What was expected when it was asked for counts, and what was when it came.
        """
        allowed: set[str] = set()
        for moment in (answer.sent, answer.came):
            allowed |= [versions for since, versions in self.since if since <= moment][-1]
        if answer.fault or answer.version in allowed:
            return answer.fault
        return f"version {answer.version}, expected was one of {sorted(allowed)}"


def test_nothing_is_dropped_while_aliases_move(served: Served) -> None:
    """Publish, promote and roll back under callers on both wires.

    No request fails; each answer is the named version's own; and from the moment at which the flip
    is reported, no request that is sent then is answered by another version.
    """
    assert served.publish(1.0, "champion") == "1"
    assert f"{MODEL}@champion: nothing → 1" in served.sync("once")
    expected, callers = Expected(), Callers(served.running, MODEL, 8)
    expected.from_now("1")
    with callers.asking():
        champion = "1"
        for amount in (2.0, 3.0):
            version = served.publish(amount, "challenger")
            served.sync("once")
            _flip(expected, champion, version, served)
            champion = version
        expected.from_now("2", "3")
        assert f"{MODEL}@champion: 3 → 2" in served.sync("rollback", MODEL)
        expected.from_now("2")
        time.sleep(1)
    assert [wrong for answer in callers.answers if (wrong := expected.wrong(answer))] == []
    assert len(callers.answers) > 500
    assert served.registered.aliases(MODEL)["champion"] == "2"
    state = json.loads(served.sync("status", "--json"))
    assert state["models"][MODEL]["routes"] == {"champion": "2", "challenger": "3"}
    metrics = httpx.get(f"{served.running.url}/metrics").text
    assert f'lupine_alias_version{{alias="champion",model="{MODEL}"}} 2.0' in metrics


def _flip(expected: Expected, old: str, new: str, served: Served) -> None:
    """The champion moves; until the sync has said so, either version may answer."""
    expected.from_now(old, new)
    served.registered.alias(MODEL, "champion", new)
    assert f"{MODEL}@champion: {old} → {new}" in served.sync("once")
    expected.from_now(new)
    time.sleep(1)


def test_aliases_are_addressed_over_grpc(served: Served) -> None:
    """`plus@challenger`, by an unmodified client; an alias that is not there is NOT_FOUND."""
    tensor = triton.InferInput("x", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 1), np.float32))
    with triton.InferenceServerClient(served.running.grpc_url) as client:
        answer = client.infer(f"{MODEL}@challenger", [tensor])
        assert (answer.get_response().model_version, answer.as_numpy("y")[0, 0]) == ("3", 3.0)
        with pytest.raises(triton.InferenceServerException, match="no alias 'nobody'"):
            client.infer(f"{MODEL}@nobody", [tensor])
