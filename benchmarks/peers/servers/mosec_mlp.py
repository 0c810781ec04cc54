"""The MLP in mosec: `mosec_mlp.py --address 127.0.0.1 --port PORT`, the model in `MLP_MODEL`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime
from mosec import Server, Worker

_WORKERS = 1
_ROWS = 64
_WAIT_MS = 1


class Mlp(Worker):
    """Rows of 64 FP32 in, rows of 16 out; batches are lists of requests."""

    def __init__(self) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["MLP_MODEL"], options)

    def forward(self, data: list[Any]) -> list[Any]:
        """Answer a batch of bodies, each `{"x": [64 numbers]}`."""
        rows = np.array([one["x"] for one in data], np.float32)
        (found,) = self._session.run(None, {"x": rows})
        return [{"y": row} for row in found.tolist()]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Mlp, num=_WORKERS, max_batch_size=_ROWS, max_wait_time=_WAIT_MS)
    server.run()
