"""File identification beside magika itself, the authority on what is right."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from magika import Magika
from magika.types import Seekable
from onnxruntime import InferenceSession

from models import magika as packaged
from service.apis import identify
from service.apis.identify import Identification, decide, features, without_model
from tests.samples import sample_files

FILES = sample_files()


@functools.cache
def authors() -> Magika:
    """The authors' own code."""
    return Magika()


@pytest.fixture(scope="module")
def model() -> InferenceSession:
    """The model that is packaged, in process."""
    return InferenceSession(packaged.build().onnx, providers=["CPUExecutionProvider"])


def identified(model: InferenceSession, content: bytes) -> Identification:
    if (settled := without_model(content)) is not None:
        return settled
    (probabilities,) = model.run([identify.OUTPUT], {identify.INPUT: features(content)})
    return decide(content, probabilities)


def said_by(content: bytes) -> Identification:
    prediction = authors().identify_bytes(content).prediction
    output = prediction.output
    return Identification(
        label=str(output.label),
        score=prediction.score,
        mime_type=output.mime_type,
        group=output.group,
        description=output.description,
        extensions=tuple(output.extensions),
        is_text=output.is_text,
    )


def features_by(content: bytes) -> Any:
    _, found = authors()._get_result_or_features_from_seekable(Seekable(io.BytesIO(content)))
    return None if found is None else [*found.beg, *found.end]


def test_there_are_enough_kinds() -> None:
    """The comparison below covers far more than thirty kinds of file, each of its own content."""
    assert len(FILES) >= 60
    assert len(set(FILES.values())) == len(FILES)


@pytest.mark.parametrize("kind", FILES)
def test_features_are_magikas(kind: str) -> None:
    """The model is fed what magika feeds it, and left alone where magika leaves it alone."""
    content = FILES[kind]
    expected = features_by(content)
    if expected is None:
        assert without_model(content) is not None
        return
    assert without_model(content) is None
    assert features(content).dtype == np.int32
    assert features(content).tolist() == [expected]


@pytest.mark.parametrize("kind", FILES)
def test_answers_are_magikas(model: InferenceSession, kind: str) -> None:
    """Type, score and description are equal to `Magika().identify_bytes`."""
    content = FILES[kind]
    ours, theirs = identified(model, content), said_by(content)
    assert ours.score == pytest.approx(theirs.score, abs=1e-6)
    assert ours == dataclasses.replace(theirs, score=ours.score)


def test_samples_are_told_apart(model: InferenceSession) -> None:
    """The samples are what they claim to be often enough to exercise many labels of the model."""
    labels = {identified(model, content).label for content in FILES.values()}
    assert len(labels) >= 35


_WHITE = st.sampled_from([b"", b" ", b"\n\t", b" " * 4_095, b"\r\n" * 2_048, b"\x0b\x0c" * 600])
_BODY = st.one_of(
    st.binary(max_size=40), st.binary(min_size=1_000, max_size=1_100), st.text().map(str.encode)
)


@settings(max_examples=300, deadline=None)
@given(before=_WHITE, body=_BODY, times=st.integers(1, 5), after=_WHITE)
@example(before=b"", body=b"", times=1, after=b"")
@example(before=b" " * 4_095, body="é".encode(), times=1, after=b"")
def test_features_of_anything(before: bytes, body: bytes, times: int, after: bytes) -> None:
    """However content is cut and padded with whitespace, features and special cases agree."""
    content = before + body * times + after
    expected = features_by(content)
    settled = without_model(content)
    if expected is None:
        assert settled == said_by(content)
    else:
        assert settled is None
        assert features(content).tolist() == [expected]


@settings(max_examples=300, deadline=None)
@given(label=st.integers(0, 213), score=st.floats(2**-7, 1.0, width=32))
def test_decisions_of_any_probability(label: int, score: float) -> None:
    """Thresholds and renamed labels are magika's, for every label at every probability."""
    probabilities = np.zeros((1, 214), np.float32)
    probabilities[0, label] = score
    dl_label = authors()._model_config.target_labels_space[label]
    expected, _ = authors()._get_output_label_from_dl_label_and_score(dl_label, score)
    ours = decide(b"enough to ask", probabilities)
    assert (ours.label, ours.score) == (str(expected), score)


def test_missing_probabilities() -> None:
    """Content that needs the model is not decided without it, nor with another model's answer."""
    with pytest.raises(ValueError, match="214 probabilities are expected, got 0"):
        decide(b"enough to ask")
    with pytest.raises(ValueError, match="214 probabilities are expected, got 10"):
        decide(b"enough to ask", np.zeros((1, 10), np.float32))
    assert decide(b"").label == "empty"


def test_file_types_are_the_wheels() -> None:
    """The committed labels and thresholds are those of the installed wheel."""
    committed = Path(identify.__file__).with_name("magika_types.json")
    assert committed.read_text() == packaged.types_text()
    assert "Apache-2.0" in json.loads(committed.read_text())["licence"]
