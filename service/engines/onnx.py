"""ONNX Runtime in this process: the same repository and configs as Triton, without Triton."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from service.engines.in_process import Opener, OpenModel
from service.errors import EngineError, InvalidRequestError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Parameter, Servable, Tensor
from service.repository import completion
from service.repository import config as model_config

_DEFAULT_FILE = "model.onnx"
_LEVELS = {  # optimization.graph.level, as NVIDIA's backend reads it
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


def opener() -> Opener:
    """How the onnx engine opens a model: its graph completes and checks the config."""
    return _open


def _open(written: dict[str, Any], folder: Path) -> tuple[dict[str, Any], OpenModel]:
    path = folder / (written.get("default_model_filename") or _DEFAULT_FILE)
    if not path.is_file():
        raise InvalidRequestError(
            f"model {written['name']!r} has no file {folder.name}/{path.name} for the onnx engine"
        )
    try:
        session = ort.InferenceSession(
            path, _session_options(written), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's own kinds share no root
        raise InvalidRequestError(
            f"ONNX Runtime cannot load {folder.parent.name}/{folder.name}/{path.name}: {error}"
        ) from None
    graph = completion.Graph(
        inputs=_described(session.get_inputs()),
        outputs=_described(session.get_outputs()),
        initializers=_described(session.get_overridable_initializers()),
    )
    try:
        config = completion.complete(written, graph)
        completion.check(config, graph)
    except completion.ConfigMismatchError as error:
        raise InvalidRequestError(str(error)) from None
    return config, OnnxModel(session, config, model_config.servable(config, folder.name))


def _described(arguments: Sequence[Any]) -> list[completion.GraphTensor]:
    return [completion.GraphTensor(a.name, a.type, a.shape) for a in arguments]


def _session_options(config: Mapping[str, Any]) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    given = {key: v.get("string_value", "") for key, v in config.get("parameters", {}).items()}
    options.intra_op_num_threads = int(given.get("intra_op_thread_count", 0))
    options.inter_op_num_threads = int(given.get("inter_op_thread_count", 0))
    if given.get("execution_mode") == "1":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = given.get("enable_mem_arena", "1") != "0"
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 1))
    options.graph_optimization_level = _LEVELS.get(level, _LEVELS[1])
    return options


class OnnxModel:
    """One session. Runs hold no lock: ONNX Runtime's sessions are safe to share."""

    def __init__(
        self, session: ort.InferenceSession, config: Mapping[str, Any], s: Servable
    ) -> None:
        self._session = session
        self._servable = s
        self._reshapes = {
            item["name"]: tuple(int(size) for size in item["reshape"].get("shape", ()))
            for side in ("input", "output")
            for item in config.get(side, ())
            if "reshape" in item
        }

    def run(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],
        parameters: Mapping[str, Parameter],  # noqa: ARG002 - a graph takes none
    ) -> Mapping[str, Tensor]:
        """The named outputs, in the datatypes of the config."""
        feed = {name: self._feed(name, tensor) for name, tensor in inputs.items()}
        try:
            answers = self._session.run(list(outputs), feed)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's own kinds share no root
            raise EngineError(f"ONNX Runtime: {error}"[:2000]) from None
        return {
            name: self._answer(name, array) for name, array in zip(outputs, answers, strict=True)
        }

    def _feed(self, name: str, tensor: Tensor) -> np.ndarray[Any, Any]:
        array = tensor.array
        if name in self._reshapes:
            array = array.reshape(self._shape(name, array))
        if tensor.datatype is Datatype.BYTES:
            return _texts(name, array)
        return array

    def _answer(self, name: str, array: np.ndarray[Any, Any]) -> Tensor:
        datatype = self._servable.outputs[name].datatype
        if name in self._reshapes:
            leading = array.shape[:1] if self._servable.max_batch_size else ()
            dims = self._servable.outputs[name].shape[len(leading) :]
            array = array.reshape((*leading, *dims))
        if datatype is Datatype.BYTES:
            flat = np.empty(array.size, np.object_)
            flat[:] = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel()]
            array = flat.reshape(array.shape)
        return Tensor(datatype, array)

    def _shape(self, name: str, array: np.ndarray[Any, Any]) -> tuple[int, ...]:
        leading = array.shape[:1] if self._servable.max_batch_size else ()
        return (*leading, *self._reshapes[name])


def _texts(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """ONNX strings are UTF-8 text."""
    flat = np.empty(array.size, np.object_)
    try:
        flat[:] = [value.decode() for value in array.ravel()]
    except UnicodeDecodeError as error:
        raise EngineError(f"input {name!r} is not UTF-8 text: {error}") from None
    return flat.reshape(array.shape)
