"""The committed models, called through a gateway as users start it."""

from __future__ import annotations

import httpx
import pytest
import tritonclient.http as triton
from magika import Magika

from benchmarks.harness.gateway import Running
from models import behaviour, predictors, suites, uci_digits
from tests.committed import SERVED
from tests.samples import sample_files

pytestmark = pytest.mark.triton


def test_digits_reads_what_it_never_saw(running: Running) -> None:
    """At least 97 % of the held-out images, through HTTP, gateway, Triton and back."""
    _, unseen = uci_digits.load()
    right = 0
    with triton.InferenceServerClient(f"127.0.0.1:{running.port}") as client:
        for start in range(0, len(unseen.labels), 64):
            images = unseen.images[start : start + 64]
            image = triton.InferInput("image", images.shape, "FP32")
            image.set_data_from_numpy(images)
            logits = client.infer("digits", [image]).as_numpy("logits")
            right += int((logits.argmax(axis=1) == unseen.labels[start : start + 64]).sum())
    assert right / len(unseen.labels) >= 0.97


@pytest.mark.parametrize("name", SERVED)
def test_suites_are_passed_over_http(running: Running, name: str) -> None:
    """The gateway's models behave as their suites say: golden cases, invariances, metrics."""
    findings = behaviour.check(suites.load(name), predictors.over_http(running.url, name))
    assert behaviour.failed(findings) == []
    assert len(findings) >= 5


@pytest.mark.parametrize("name", SERVED)
def test_suites_are_passed_over_grpc(running: Running, name: str) -> None:
    """The same over the other wire."""
    predict = predictors.over_grpc(running.grpc_url, name)
    findings = behaviour.check(suites.load(name), predict)
    assert behaviour.failed(findings) == []
    assert len(findings) >= 5


def test_identify_agrees_with_magika_on_every_kind_of_file(running: Running) -> None:
    """The task API answers what Google's own package does, file by file."""
    magika = Magika()
    samples = sample_files()
    assert len(samples) >= 30
    with httpx.Client(base_url=running.url) as client:
        for name, content in samples.items():
            answer = client.post("/identify", files={"file": (name, content)})
            assert answer.status_code == 200, answer.text
            expected = magika.identify_bytes(content)
            found = answer.json()
            assert found["label"] == expected.output.label.value, name
            assert found["mime_type"] == expected.output.mime_type, name
            assert found["score"] == pytest.approx(expected.score, abs=1e-4), name
