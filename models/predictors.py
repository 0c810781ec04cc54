"""What answers in a test of behaviour: ONNX Runtime here, or a gateway over either wire."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import httpx
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from models import tensors, verify
from models.behaviour import Predict
from models.specification import Arrays, ModelError
from service.protocol.datatypes import Datatype

_TIMEOUT_SECONDS = 60.0


def local(model: bytes) -> Predict:
    """A model's bytes in ONNX Runtime."""
    loaded = verify.session(model)
    return lambda inputs: verify.run(loaded, inputs)


def over_http(url: str, model: str) -> Predict:
    """A served model over HTTP, as JSON.

    Args:
        url: of a gateway, or of anything else that speaks the Open Inference Protocol v2.
        model: its name there; `digits@challenger` and `digits/versions/7` are names too.
    """
    path = f"{url.rstrip('/')}/v2/models/{model}/infer"

    def predict(inputs: Arrays) -> Arrays:
        asked = [
            tensors.to_json(name, Datatype(array.dtype), array, compact=False)
            for name, array in inputs.items()
        ]
        try:
            answer = httpx.post(
                path, json={"inputs": asked}, timeout=_TIMEOUT_SECONDS, trust_env=False
            )
        except httpx.HTTPError as error:
            raise ModelError(f"{path} does not answer: {error or type(error).__name__}") from None
        if answer.status_code != httpx.codes.OK:
            raise ModelError(f"{path} answers {answer.status_code}: {answer.text:.300}")
        return tensors.from_json(answer.json()["outputs"])

    return predict


def over_grpc(address: str, model: str) -> Predict:
    """A served model over gRPC, asked by `tritonclient`.

    Args:
        address: host:port.
        model: its name there; `digits@challenger` is a name too.
    """

    def predict(inputs: Arrays) -> Arrays:
        try:
            with closing(triton.InferenceServerClient(address)) as client:
                answer = client.infer(
                    model,
                    [_asked(name, array) for name, array in inputs.items()],
                    client_timeout=_TIMEOUT_SECONDS,
                )
        except InferenceServerException as error:
            raise ModelError(f"{address} answers {error.status()}: {error.message()}") from None
        names = [output.name for output in answer.get_response().outputs]
        return {name: answer.as_numpy(name) for name in names}

    return predict


def _asked(name: str, array: np.ndarray[Any, Any]) -> Any:
    asked = triton.InferInput(name, array.shape, Datatype(array.dtype).name)
    asked.set_data_from_numpy(array)
    return asked
