"""The MLP in BentoML, typed: `bentoml serve bentoml_mlp:Mlp`, or `:MlpBatched`."""

from __future__ import annotations

import os
from typing import Annotated, Any

import bentoml
import numpy as np
import onnxruntime
from bentoml.validators import DType

_WORKERS = 2
_ROWS = 64

Rows = Annotated[np.ndarray, DType("float32")]


def _session() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["MLP_MODEL"], options)


@bentoml.service(workers=_WORKERS)
class Mlp:
    """Rows of 64 FP32 in, rows of 16 out; each request is run by itself."""

    def __init__(self) -> None:
        self._session = _session()

    @bentoml.api
    def predict(self, x: Rows) -> Rows:
        """Answer one request: x is [1, 64]."""
        found: Rows = self._session.run(None, {"x": x})[0]
        return found


@bentoml.service(workers=_WORKERS)
class MlpBatched:
    """The same with BentoML's adaptive batching."""

    def __init__(self) -> None:
        self._session = _session()

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=_ROWS, max_latency_ms=1000)
    def predict(self, x: Rows) -> Rows:
        """Answer a batch: x is [n, 64]."""
        found: Rows = self._session.run(None, {"x": x})[0]
        return found
