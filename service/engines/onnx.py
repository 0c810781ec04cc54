"""ONNX Runtime in this process: the same repository and configs as Triton, without Triton."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.engines.in_process import Opener, OpenModel, Stop
from service.errors import EngineError, InvalidRequestError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Parameter, Servable, Tensor
from service.repository import completion, session
from service.repository import config as model_config


def opener() -> Opener:
    """How the onnx engine opens a model: its graph completes and checks the config."""
    return _open


def _open(written: dict[str, Any], folder: Path) -> tuple[dict[str, Any], OpenModel]:
    try:
        session.refuse_unsupported(written)
        opened = session.open_session(session.model_file(folder, written), written)
        graph = session.graph_of(opened)
        config = completion.complete(written, graph)
        completion.check(config, graph)
    except (completion.ConfigMismatchError, session.RefusedError) as error:
        raise InvalidRequestError(session.explained(written, error)) from None
    return config, OnnxModel(opened, graph, model_config.servable(config, folder.name))


class OnnxModel:
    """One session. Runs hold no lock: ONNX Runtime's sessions are safe to share."""

    def __init__(
        self, opened: session.InferenceSession, graph: completion.Graph, servable: Servable
    ) -> None:
        self._session = opened
        self._servable = servable
        self._scalars = {t.name for t in (*graph.inputs, *graph.initializers) if not t.dims}
        self._reshapes = {
            item["name"]: tuple(int(size) for size in item["reshape"].get("shape", ()))
            for side in ("input", "output")
            for item in servable.config.get(side, ())
            if "reshape" in item
        }

    def run(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],
        parameters: Mapping[str, Parameter],  # noqa: ARG002 - a graph takes none
        stop: Stop,
    ) -> Mapping[str, Tensor]:
        """The named outputs, in the datatypes of the config."""
        options = session.run_options(self._servable.config)
        stop.then(lambda: setattr(options, "terminate", True))
        feed = {name: self._feed(name, tensor) for name, tensor in inputs.items()}
        try:
            answers = self._session.run(list(outputs), feed, options)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's own kinds share no root
            raise EngineError(f"ONNX Runtime: {error}"[:2000]) from None
        return {
            name: self._answer(name, array) for name, array in zip(outputs, answers, strict=True)
        }

    def _feed(self, name: str, tensor: Tensor) -> np.ndarray[Any, Any]:
        array = tensor.array
        if name in self._reshapes:
            array = array.reshape(self._shape(name, array))
        if name in self._scalars:
            array = array.reshape(())
        if tensor.datatype is Datatype.BYTES:
            try:
                return session.to_texts(name, array)
            except ValueError as error:
                raise InvalidRequestError(str(error)) from None
        return array

    def _answer(self, name: str, array: np.ndarray[Any, Any]) -> Tensor:
        datatype = self._servable.outputs[name].datatype
        if name in self._reshapes:
            leading = array.shape[:1] if self._servable.max_batch_size else ()
            dims = self._servable.outputs[name].shape[len(leading) :]
            array = array.reshape((*leading, *dims))
        if array.ndim == 0:  # Triton has no scalars: their dims are ones
            array = array.reshape(self._servable.outputs[name].shape)
        if datatype is Datatype.BYTES:
            array = session.to_bytes(array)
        return Tensor(datatype, array)

    def _shape(self, name: str, array: np.ndarray[Any, Any]) -> tuple[int, ...]:
        leading = array.shape[:1] if self._servable.max_batch_size else ()
        return (*leading, *self._reshapes[name])
