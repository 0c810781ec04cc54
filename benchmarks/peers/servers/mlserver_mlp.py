"""The MLP as a custom runtime of MLServer; `mlserver start` finds it by `model-settings.json`."""

from __future__ import annotations

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Mlp(MLModel):
    """Rows of 64 FP32 in, rows of 16 out; MLServer stacks the requests of a batch itself."""

    async def load(self) -> bool:
        """Open the model that the settings name."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request, or a batch of them made one."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        (found,) = self._session.run(None, {"x": rows})
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            outputs=[NumpyCodec.encode_output(name="y", payload=found)],
        )
