"""One gRPC stream: many requests under way, answers in their order, failures one by one."""

from __future__ import annotations

import argparse
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

SECONDS = 30  # to wait for one answer

Told = tuple[Any, InferenceServerException | None]


def ask(client: Any, request_id: str, country: str, model: str = "parcel_router") -> None:
    """Send a request on the open stream; nothing is waited for."""
    inputs = [
        triton.InferInput("destination", [1, 1], "BYTES"),
        triton.InferInput("weight_kg", [1, 1], "FP32"),
    ]
    inputs[0].set_data_from_numpy(np.array([[country]], np.object_))
    inputs[1].set_data_from_numpy(np.array([[2.5]], np.float32))
    client.async_stream_infer(model, inputs, request_id=request_id)


def main() -> None:
    """Call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grpc", default="127.0.0.1:3001")
    told: queue.Queue[Told] = queue.Queue()
    with triton.InferenceServerClient(parser.parse_args().grpc) as client:
        # The callback runs in the client's own thread: hand over, and return.
        client.start_stream(lambda result, error: told.put((result, error)))
        asked = {"first": "DE", "second": "FR", "astray": "FR", "last": "IS"}
        for request_id, country in asked.items():
            model = "nobody" if request_id == "astray" else "parcel_router"
            ask(client, request_id, country, model)

        # A failure is the answer to one request: the stream goes on. tritonclient drops its id,
        # but answers come in the order of the requests.
        for request_id in asked:
            result, error = told.get(timeout=SECONDS)
            if error is not None:
                print(f"{request_id}: refused: {error.message()}")
            elif result.get_response().id != request_id:
                sys.exit(f"{request_id}: answered as {result.get_response().id}")
            else:
                print(f"{request_id}: {result.as_numpy('route')[0, 0].decode()}")

        # Cancelling gives up what is under way; the end of the stream is told as an error.
        ask(client, "given up", "DE")
        client.stop_stream(cancel_requests=True)
        while (error := told.get(timeout=SECONDS)[1]) is None:
            pass  # it was faster than we were
        print(f"cancelled: {error.status()}")


if __name__ == "__main__":
    main()
