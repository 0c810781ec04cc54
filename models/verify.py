"""Holds an ONNX model against its spec, its reference and its golden cases, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnxruntime

from models.configuration import config_of
from models.specification import Arrays, Case, ModelError, ModelSpec
from service.repository.completion import ConfigMismatchError, Graph, GraphTensor, check
from service.repository.config import to_json

BATCH_SIZES = (1, 2, 7, 32)
_ERRORS = 3  # of ONNX Runtime's log levels; below are remarks on how it optimises


def session(model: bytes) -> onnxruntime.InferenceSession:
    """The model in ONNX Runtime, on the CPU, in one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = _ERRORS
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(loaded: onnxruntime.InferenceSession, inputs: Arrays) -> Arrays:
    """One run: every output by its name. BYTES are held as UTF-8 `bytes`, as the protocol does."""
    names = [output.name for output in loaded.get_outputs()]
    fed = {name: _texts(array) for name, array in inputs.items()}
    answers = zip(names, loaded.run(names, fed), strict=True)
    return {name: _bytes(array) for name, array in answers}


def check_fit(model: bytes, spec: ModelSpec) -> None:
    """Load the model and hold its inputs and outputs against what Triton will be told of it.

    Raises:
        ModelError: it does not load, cannot batch, or a name, a type or a shape differs.
    """
    try:
        loaded = session(model)
    except Exception as error:  # ONNX Runtime's errors share no base but this
        raise ModelError(f"ONNX Runtime does not load {spec.name!r}: {error}") from error
    graph = Graph(
        inputs=[GraphTensor(t.name, t.type, t.shape) for t in loaded.get_inputs()],
        outputs=[GraphTensor(t.name, t.type, t.shape) for t in loaded.get_outputs()],
    )
    try:
        check(to_json(config_of(spec)), graph)
    except ConfigMismatchError as error:
        raise ModelError(str(error)) from error


def compare(
    model: bytes, spec: ModelSpec, rows: Arrays, reference: Callable[[Arrays], Arrays]
) -> None:
    """Hold ONNX Runtime's answers against the reference's, at batch sizes 1, 2, 7 and 32.

    Args:
        model: the ONNX bytes.
        spec: names the tolerance.
        rows: at least 32 rows for each input.
        reference: the code that the model was made from.

    Raises:
        ModelError: an answer differs.
    """
    loaded = session(model)
    for size in BATCH_SIZES:
        inputs = {name: array[:size] for name, array in rows.items()}
        where = f"{spec.name!r} at batch size {size}"
        _same(where, run(loaded, inputs), reference(inputs), spec.tolerance)


def check_golden(model: bytes, spec: ModelSpec, cases: Iterable[Case]) -> None:
    """Hold the model's answers against its golden cases.

    Raises:
        ModelError: an answer differs by more than the spec's tolerance.
    """
    loaded = session(model)
    for case in cases:
        where = f"golden case {case.name!r} of {spec.name!r}"
        _same(where, run(loaded, case.inputs), case.outputs, spec.tolerance)


def differences(answers: Arrays, expected: Arrays, tolerance: float) -> list[str]:
    """How a model's answers differ from the outputs that are expected, a sentence each.

    Args:
        answers: every output of the model.
        expected: the outputs that matter.
        tolerance: the largest absolute difference that still counts as the same number.
    """
    found = []
    for name, wanted in expected.items():
        if name not in answers:
            found.append(f"there is no {name!r}, only {sorted(answers)}")
            continue
        got = answers[name]
        if got.shape != wanted.shape:
            found.append(f"{name!r} has shape {got.shape}, expected {wanted.shape}")
        elif wanted.dtype.hasobject:
            if not np.array_equal(got, wanted):
                found.append(f"{name!r} is {got.tolist()}, expected {wanted.tolist()}")
        else:
            apart = float(np.abs(got.astype(np.float64) - wanted.astype(np.float64)).max(initial=0))
            if not apart <= tolerance:
                found.append(f"{name!r} is {apart:.3g} off, at most {tolerance:g} may be")
    return found


def _same(where: str, answers: Arrays, expected: Arrays, tolerance: float) -> None:
    for difference in differences(answers, expected, tolerance):
        raise ModelError(f"{where}: {difference}")


def _texts(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not array.dtype.hasobject:
        return array
    texts = [element.decode() for element in array.ravel()]
    return np.array(texts, dtype=np.object_).reshape(array.shape)


def _bytes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not array.dtype.hasobject:
        return array
    elements = [str(element).encode() for element in array.ravel()]
    return np.array(elements, dtype=np.object_).reshape(array.shape)
