"""The committed models, called through a gateway as users start it."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from magika import Magika

from benchmarks.harness.gateway import Running
from models import golden, uci_digits
from models.catalog import CATALOG
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


@pytest.mark.parametrize("name", CATALOG)
def test_golden_cases_hold_through_the_gateway(running: Running, name: str) -> None:
    """What the authors' code answers, the gateway answers."""
    spec = CATALOG[name]
    with triton.InferenceServerClient(f"127.0.0.1:{running.port}") as client:
        for case in golden.load(spec):
            inputs = []
            for tensor in spec.inputs:
                value = triton.InferInput(
                    tensor.name, case.inputs[tensor.name].shape, tensor.datatype.name
                )
                value.set_data_from_numpy(case.inputs[tensor.name])
                inputs.append(value)
            answer = client.infer(name, inputs)
            for tensor in spec.outputs:
                if tensor.name not in case.outputs:
                    continue
                found, expected = answer.as_numpy(tensor.name), case.outputs[tensor.name]
                if tensor.datatype.is_float:
                    np.testing.assert_allclose(found, expected, atol=spec.tolerance, rtol=0)
                else:
                    assert found.tolist() == expected.tolist(), case.name


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
