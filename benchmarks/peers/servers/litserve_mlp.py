"""The MLP in LitServe: `litserve_mlp.py MODEL PORT`."""

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime
from fastapi import Request, Response

_WORKERS = 2
_ROWS = 64
_WAIT_SECONDS = 0.005


class Mlp(litserve.LitAPI):
    """Rows of 64 FP32 in, rows of 16 out."""

    def __init__(self, model: str, **options: Any) -> None:
        super().__init__(**options)
        self._model = model

    def setup(self, device: str) -> None:
        """Open the model, in the worker."""
        del device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self._model, options)

    def decode_request(self, request: Request) -> Any:
        """The row of a body `{"x": [64 numbers]}`."""
        return np.array(request["x"], np.float32)

    def predict(self, x: Any) -> Any:
        """Answer a batch that LitServe has stacked."""
        return self._session.run(None, {"x": x})[0]

    def encode_response(self, output: Any) -> Response:
        """The body of one answer."""
        body: Any = {"y": output.tolist()}
        return body  # LitServe makes the Response


if __name__ == "__main__":
    api = Mlp(sys.argv[1], max_batch_size=_ROWS, batch_timeout=_WAIT_SECONDS)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=_WORKERS, fast_queue=True
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning"
    )
