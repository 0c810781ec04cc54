"""The engine that computes nothing: the floor of latency, and the double that fails on demand.

An output echoes the input of the same position where datatype and shape allow it, and is zeros
(empty strings for BYTES) everywhere else. Each request may steer it by its parameters:
`echo.latency_ms`, and `echo.fail` = `input` (the run fails) or `away` (the engine is gone).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.engines.in_process import Opener, OpenModel, Stop
from service.errors import EngineError, InvalidRequestError, UnavailableError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Parameter, Servable, Tensor, TensorSpec
from service.repository import config as model_config

_MAX_LATENCY_MS = 60_000


def opener(latency: float) -> Opener:
    """How the echo engine opens a model: by its config alone.

    Args:
        latency: seconds that each run takes, where the request does not say.
    """

    def open_model(config: dict[str, Any], folder: Path) -> tuple[dict[str, Any], OpenModel]:
        if not config.get("input") or not config.get("output"):
            raise InvalidRequestError(
                f"model {config['name']!r}: echo needs the inputs and outputs in config.pbtxt"
            )
        return config, EchoModel(model_config.servable(config, folder.name), latency)

    return open_model


class EchoModel:
    """One version, as its config describes it."""

    def __init__(self, servable: Servable, latency: float) -> None:
        self._servable = servable
        self._latency = latency

    def run(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],
        parameters: Mapping[str, Parameter],
        stop: Stop,
    ) -> Mapping[str, Tensor]:
        """Wait, fail if told to, and echo."""
        if seconds := self._seconds(parameters):
            stopped = threading.Event()
            stop.then(stopped.set)
            if stopped.wait(seconds):
                raise EngineError("the echo engine was told to stop")
        match parameters.get("echo.fail"):
            case None:
                pass
            case "input":
                raise EngineError("the echo engine was told to fail")
            case "away":
                raise UnavailableError("the echo engine was told to be away")
            case other:
                raise InvalidRequestError(
                    f"parameter 'echo.fail' is {other!r:.60}: 'input' or 'away' is expected"
                )
        pairs = dict(zip(self._servable.outputs, self._servable.inputs, strict=False))
        first = next(iter(inputs.values()), None)
        rows = first.shape[0] if first is not None and self._servable.max_batch_size else 1
        return {
            name: self._answer(self._servable.outputs[name], inputs.get(pairs.get(name, "")), rows)
            for name in outputs
        }

    def _seconds(self, parameters: Mapping[str, Parameter]) -> float:
        asked = parameters.get("echo.latency_ms")
        if asked is None:
            return self._latency
        if isinstance(asked, bool | str) or not 0 <= asked <= _MAX_LATENCY_MS:
            raise InvalidRequestError(
                f"parameter 'echo.latency_ms' is {asked!r:.60}: 0 to {_MAX_LATENCY_MS} is expected"
            )
        return asked / 1000

    def _answer(self, spec: TensorSpec, given: Tensor | None, rows: int) -> Tensor:
        if (
            given is not None
            and given.datatype is spec.datatype
            and len(given.shape) == len(spec.shape)
            and all(w in (-1, s) for w, s in zip(spec.shape, given.shape, strict=True))
        ):
            return given
        shape = [1 if size == -1 else size for size in spec.shape]
        if self._servable.max_batch_size:
            shape[0] = rows
        if spec.datatype is Datatype.BYTES:
            return Tensor(spec.datatype, np.full(shape, b"", np.object_))
        return Tensor(spec.datatype, np.zeros(shape, spec.datatype.dtype))
