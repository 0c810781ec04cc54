"""The stateful model: other edges, and to the bit what its authors' own code answers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from models import silero_vad, voices
from models.catalog import find
from models.specification import ModelError
from models.verify import check_fit, run, session

SECONDS = 4.0


@pytest.fixture(scope="module")
def model() -> bytes:
    """The adapted model."""
    return silero_vad.build().onnx


def by_authors(audio: np.ndarray) -> list[float]:
    theirs = silero_vad.authors()
    return [
        float(theirs(torch.from_numpy(chunk), voices.RATE_HZ)) for chunk in silero_vad.chunks(audio)
    ]


def streamed(model: bytes, streams: list[np.ndarray]) -> np.ndarray:
    """Probabilities [chunks, streams] of streams that go side by side in one batch."""
    loaded, answer, said = session(model), None, []
    for parts in zip(*(silero_vad.chunks(stream) for stream in streams), strict=True):
        audio = np.concatenate(parts)
        inputs = (
            silero_vad.first_inputs(audio)
            if answer is None
            else silero_vad.next_inputs(audio, answer)
        )
        answer = run(loaded, inputs)
        said.append(answer["speech"][:, 0])
    return np.array(said)


def test_a_stream_is_what_the_authors_say(model: bytes) -> None:
    """Chunk by chunk over seconds of audio, the answers are those of the authors' wrapper."""
    audio = voices.speech_like(SECONDS, 7)
    said = streamed(model, [audio])[:, 0]
    assert len(said) == int(SECONDS * voices.RATE_HZ) // 512
    assert said == pytest.approx(by_authors(audio), abs=1e-6)


def test_streams_share_a_batch_and_nothing_else(model: bytes) -> None:
    """Three strangers' streams in one batch answer as each does alone."""
    streams = [
        voices.speech_like(SECONDS, 1),
        voices.silence(SECONDS, 2),
        voices.speech_like(SECONDS, 3),
    ]
    together = streamed(model, streams)
    for at, stream in enumerate(streams):
        assert together[:, at] == pytest.approx(by_authors(stream), abs=1e-5)


def test_it_hears_speech_and_not_silence(model: bytes) -> None:
    """The audio that is computed here is speech to the model, and a quiet room is not."""
    assert streamed(model, [voices.speech_like(SECONDS, 7)]).max() > 0.9
    assert streamed(model, [voices.silence(SECONDS, 7)]).max() < 0.2


def test_every_edge_leads_with_the_batch(model: bytes) -> None:
    """All inputs and outputs can be batched along their first axis, the state too."""
    check_fit(model, find("silero_vad"))
    graph = onnx.load_from_string(model).graph
    for edge in (*graph.input, *graph.output):
        assert edge.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_another_model_in_the_wheel_is_refused() -> None:
    """A graph with other inputs than the known one is not adapted by guessing."""
    edge = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_model(helper.make_graph([], "g", [edge], [edge]))
    with pytest.raises(ModelError, match="it is another version"):
        silero_vad.adapted(other)
