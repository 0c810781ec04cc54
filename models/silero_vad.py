"""`silero_vad`: whether somebody speaks, in a stream of audio; the state travels with the request.

The authors' model (Silero Team, MIT) for 16 kHz takes the state as [2, n, 128], so nothing that
batches along the first axis can serve it, and asks its caller to put 64 samples of the chunk before
in front. Here the graph's edges are changed, its conditionals (all on fixed shapes) give way to
the branch that they take, and that is all:

- `audio` FP32 [-1, 512], 32 ms;
- `context` FP32 [-1, 64] and `state` FP32 [-1, 2, 128], zeros for the first chunk of a stream, then
  what came back as `next_context` and `next_state`;
- `speech` FP32 [-1, 1], the probability.

So a stream is any number of independent requests, and streams of strangers share a batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from models import voices, wheel
from models.canonical import finish
from models.conditionals import inlined
from models.specification import Arrays, Build, Case, Kind, ModelError, ModelSpec, TensorRT
from service.protocol.datatypes import Datatype
from service.protocol.messages import TensorSpec

_CHUNK = 512
_CONTEXT = 64
_STATE = (2, 128)

SPEC = ModelSpec(
    name="silero_vad",
    kind=Kind.ADAPTED,
    summary="whether somebody speaks, in 32 ms of a stream",
    inputs=(
        TensorSpec(name="audio", datatype=Datatype.FP32, shape=(-1, _CHUNK)),
        TensorSpec(name="context", datatype=Datatype.FP32, shape=(-1, _CONTEXT)),
        TensorSpec(name="state", datatype=Datatype.FP32, shape=(-1, *_STATE)),
    ),
    outputs=(
        TensorSpec(name="speech", datatype=Datatype.FP32, shape=(-1, 1)),
        TensorSpec(name="next_context", datatype=Datatype.FP32, shape=(-1, _CONTEXT)),
        TensorSpec(name="next_state", datatype=Datatype.FP32, shape=(-1, *_STATE)),
    ),
    max_batch_size=64,
    tolerance=1e-4,
    golden_source="silero_vad, load_silero_vad(onnx=True, opset_version=15)",
    licence="MIT",
    slo_p99_ms=50,
    default_timeout_ms=2_000,
    packages=("onnx", "silero-vad"),
    sources=("models/canonical.py", "models/conditionals.py", "models/wheel.py"),
    datasets=("voices",),
    tensorrt=TensorRT(optimal_rows=32, fp16_tolerance=0.05),
)

_WHEEL = "silero_vad"
_FILE = "data/silero_vad_16k_op15.onnx"
_OPSET = 15


def build(seed: int | None = None) -> Build:  # noqa: ARG001 - nothing is drawn
    """Read the authors' model out of the wheel, and change its edges.

    Raises:
        ModelError: the wheel is not installed, or holds another model than this was written for.
    """
    theirs = wheel.read(_WHEEL, _FILE, distribution="silero-vad", extra="cpu,export")
    return Build(
        onnx=finish(adapted(onnx.load_from_string(theirs)), SPEC),
        facts={
            "source": f"{_WHEEL}/{_FILE} of the PyPI wheel silero-vad",
            "copyright": "2020-present Silero Team",
            "changed": "batch axis of the state in front; context in and out; sampling rate fixed; "
            "conditionals on shapes decided",
        },
        golden=_golden,
    )


def adapted(theirs: Any) -> Any:
    """The authors' graph with other edges.

    Raises:
        ModelError: its inputs and outputs are not those that were expected.
    """
    names = [[value.name for value in edges] for edges in (theirs.graph.input, theirs.graph.output)]
    if names != [["input", "state", "sr"], ["output", "stateN"]]:
        raise ModelError(f"the wheel's silero_vad takes and gives {names}: it is another version")
    # Without its weights: the branches of an `If` see them from outside, and keep their names.
    model = compose.add_prefix(theirs, prefix="inner_", rename_initializers=False)
    graph = model.graph
    swap = [1, 0, 2]
    before = [
        helper.make_node("Concat", ["context", "audio"], ["inner_input"], axis=1),
        helper.make_node("Transpose", ["state"], ["inner_state"], perm=swap),
    ]
    after = [
        helper.make_node("Identity", ["inner_output"], ["speech"]),
        helper.make_node("Transpose", ["inner_stateN"], ["next_state"], perm=swap),
        helper.make_node("Slice", ["audio", "tail", "end", "along"], ["next_context"]),
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.value_info[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        [
            helper.make_tensor("inner_sr", TensorProto.INT64, [], [voices.RATE_HZ]),
            helper.make_tensor("tail", TensorProto.INT64, [1], [_CHUNK - _CONTEXT]),
            helper.make_tensor("end", TensorProto.INT64, [1], [_CHUNK]),
            helper.make_tensor("along", TensorProto.INT64, [1], [1]),
        ]
    )
    graph.input.extend(_edge(tensor) for tensor in SPEC.inputs)
    graph.output.extend(_edge(tensor) for tensor in SPEC.outputs)
    return inlined(model, [first_inputs(np.zeros((n, _CHUNK), np.float32)) for n in (1, 2, 7)])


def chunks(audio: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """The whole chunks of a stream, each FP32 [1, 512]."""
    for start in range(0, len(audio) - _CHUNK + 1, _CHUNK):
        yield audio[np.newaxis, start : start + _CHUNK]


def first_inputs(audio: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The inputs for the first chunk of a stream."""
    rows = len(audio)
    return {
        "audio": audio,
        "context": np.zeros((rows, _CONTEXT), np.float32),
        "state": np.zeros((rows, *_STATE), np.float32),
    }


def next_inputs(audio: np.ndarray[Any, Any], answer: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The inputs for the chunk that follows on `answer`."""
    return {"audio": audio, "context": answer["next_context"], "state": answer["next_state"]}


def _edge(tensor: TensorSpec) -> Any:
    return helper.make_tensor_value_info(
        tensor.name, TensorProto.FLOAT, ["batch", *tensor.shape[1:]]
    )


def authors() -> Any:
    """The authors' own wrapper around their own model. It keeps the state of one stream."""
    from silero_vad import load_silero_vad  # noqa: PLC0415 - only golden cases need their code

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it takes 16 kHz alone, which is asked for
        return load_silero_vad(onnx=True, opset_version=_OPSET)


def _golden() -> Sequence[Case]:
    import torch  # noqa: PLC0415 - the authors' code takes and gives torch's tensors

    streams = {
        "a quiet room": voices.silence(0.5, 1),
        "somebody speaks": voices.speech_like(1.2, 2),
    }
    at = {"a quiet room": (0, 9), "somebody speaks": (0, 20, 30)}
    cases = []
    for name, audio in streams.items():
        theirs = authors()
        inputs = None
        for number, chunk in enumerate(chunks(audio)):
            context = np.zeros((1, _CONTEXT), np.float32) if inputs is None else inputs["audio"]
            inputs = {
                "audio": chunk,
                "context": context[:, -_CONTEXT:],
                "state": theirs._state.numpy().transpose(1, 0, 2).copy(),  # noqa: SLF001 - no public door
            }
            said = theirs(torch.from_numpy(chunk), voices.RATE_HZ).numpy()
            if number in at[name]:
                outputs = {
                    "speech": said,
                    "next_context": chunk[:, -_CONTEXT:],
                    "next_state": theirs._state.numpy().transpose(1, 0, 2).copy(),  # noqa: SLF001 - no public door
                }
                cases.append(Case(name=f"{name}, chunk {number}", inputs=inputs, outputs=outputs))
    return [
        *cases,
        Case(
            name="chunks of several streams at once",
            inputs=_joined([case.inputs for case in cases]),
            outputs=_joined([case.outputs for case in cases]),
        ),
    ]


def _joined(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
