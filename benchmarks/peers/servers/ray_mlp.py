"""The MLP in Ray Serve: `ray_mlp.py MODEL PORT SCRATCH`; runs until SIGTERM."""

from __future__ import annotations

import signal
import sys
from typing import Any

import numpy as np
import onnxruntime
import ray
from ray import serve
from starlette.requests import Request

_ROWS = 64
_WAIT_SECONDS = 0.005
_ONGOING = 256
_CPUS = 2


@serve.deployment(num_replicas=1, max_ongoing_requests=_ONGOING)
class Mlp:
    """Rows of 64 FP32 in, rows of 16 out."""

    def __init__(self, model: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options)

    @serve.batch(max_batch_size=_ROWS, batch_wait_timeout_s=_WAIT_SECONDS)
    async def run(self, rows: list[Any]) -> list[Any]:
        """Answer a batch of rows."""
        return list(self._session.run(None, {"x": np.stack(rows)})[0])

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Answer one body, `{"x": [64 numbers]}`."""
        body = await request.json()
        found = await self.run(np.array(body["x"], np.float32))
        return {"y": found.tolist()}


def main() -> None:
    """Serve, say so, and stop when told to."""
    model, port, scratch = sys.argv[1:]
    ray.init(
        num_cpus=_CPUS,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=scratch,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    application: Any = Mlp  # the decorator has made a deployment of it
    serve.run(application.bind(model), route_prefix="/")
    print("ready", flush=True)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    ray.shutdown()


if __name__ == "__main__":
    # Before any thread is there: all of them inherit it, and none but ours is told.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    main()
