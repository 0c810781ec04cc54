"""Models that are too large to commit: made by `lupine export`, and served by both engines."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.harness.gateway import LUPINE, Running, gateway
from models import behaviour, predictors, silero_vad, suites, voices
from models.behaviour import Predict
from tests.committed import MADE_ON_DEMAND
from tests.requires import require_triton_runtime
from tests.serving import serving, settings

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds them, as the command makes it."""
    folder = tmp_path_factory.mktemp("made") / "repository"
    done = subprocess.run(
        [LUPINE, "export", *MADE_ON_DEMAND, "--out", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in MADE_ON_DEMAND)
    return folder


@pytest.fixture(scope="module")
def on_triton(repository: Path) -> Iterator[Running]:
    """A gateway in front of a real tritonserver with these models."""
    require_triton_runtime()
    with gateway("--repository", str(repository), "--engine", "triton", "--workers", "1") as found:
        yield found


@pytest.mark.parametrize("name", MADE_ON_DEMAND)
def test_suites_are_passed_on_triton(on_triton: Running, name: str) -> None:
    """Through a gateway and Triton, over both wires, the models behave as their suites say."""
    suite = suites.load(name)
    for predict in (
        predictors.over_http(on_triton.url, name),
        predictors.over_grpc(on_triton.grpc_url, name),
    ):
        assert behaviour.failed(behaviour.check(suite, predict)) == []


@pytest.mark.parametrize("name", MADE_ON_DEMAND)
def test_suites_are_passed_in_process(repository: Path, tmp_path: Path, name: str) -> None:
    """The same with ONNX Runtime in the worker itself."""
    with serving(settings(repository, "onnx"), tmp_path) as served:
        predict = predictors.over_http(served.url, name)
        assert behaviour.failed(behaviour.check(suites.load(name), predict)) == []


@pytest.mark.parametrize("wire", ["http", "grpc"])
def test_a_stream_of_speech_is_what_its_authors_say(on_triton: Running, wire: str) -> None:
    """Chunk after chunk through the gateway, the state going to and fro, as in their own code."""
    audio = voices.speech_like(2.0, 4)
    ask: Predict = (
        predictors.over_http(on_triton.url, "silero_vad")
        if wire == "http"
        else predictors.over_grpc(on_triton.grpc_url, "silero_vad")
    )
    theirs, answer = silero_vad.authors(), None
    said, expected = [], []
    for chunk in silero_vad.chunks(audio):
        inputs = (
            silero_vad.first_inputs(chunk)
            if answer is None
            else silero_vad.next_inputs(chunk, answer)
        )
        answer = ask(inputs)
        said.append(float(answer["speech"][0, 0]))
        expected.append(float(theirs(torch.from_numpy(chunk), voices.RATE_HZ)))
    assert len(said) == 62
    assert max(expected) > 0.9
    assert np.array(said) == pytest.approx(np.array(expected), abs=1e-4)
