"""Many requests at once from asyncio: deadlines, refusals, and when to try again."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import tritonclient.grpc.aio
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

AT_ONCE = 8

# gRPC tries again by itself, and waits as long as the gateway says (`grpc-retry-pushback-ms`).
RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "inference.GRPCInferenceService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["RESOURCE_EXHAUSTED", "UNAVAILABLE"],
            },
        }
    ]
}


async def patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Over HTTP, 429 and 503 are worth another attempt, after the header Retry-After.

    tritonclient does not show that header: one second is the least that it says. Clients that
    were refused together should not come back together.
    """
    for seconds in (1, 2, 4):
        try:
            return await ask()
        except InferenceServerException as refusal:
            if refusal.status() not in ("429", "503"):
                raise
        await asyncio.sleep(seconds + random.random())
    return await ask()


def stroke(triton: Any) -> list[Any]:
    """The picture of a one."""
    picture = np.zeros((1, 1, 8, 8), np.float32)
    picture[0, 0, :, 3:5] = 1.0
    return [triton.InferInput("image", picture.shape, "FP32").set_data_from_numpy(picture)]


async def over_http(address: str) -> None:
    """The deadline is a header, in milliseconds."""
    inputs = stroke(tritonclient.http)
    async with tritonclient.http.aio.InferenceServerClient(address) as client:
        deadline = {"X-Request-Timeout-Ms": "5000"}
        answers = await asyncio.gather(
            *(
                patiently(lambda: client.infer("digits", inputs, headers=deadline))
                for _ in range(AT_ONCE)
            )
        )
        print("http:", [int(answer.as_numpy("logits").argmax()) for answer in answers])
        for model, headers in (("nobody", deadline), ("digits", {"X-Request-Timeout-Ms": "0.001"})):
            try:
                await client.infer(model, inputs, headers=headers)
            except InferenceServerException as refusal:
                print("http: refused:", refusal.status(), refusal.message())


async def over_grpc(address: str) -> None:
    """The deadline is gRPC's own: `client_timeout`, in seconds. It spans all attempts."""
    inputs = stroke(tritonclient.grpc)
    options = [("grpc.service_config", json.dumps(RETRIES))]
    async with tritonclient.grpc.aio.InferenceServerClient(address, channel_args=options) as client:
        answers = await asyncio.gather(
            *(client.infer("digits", inputs, client_timeout=10) for _ in range(AT_ONCE))
        )
        print("grpc:", [int(answer.as_numpy("logits").argmax()) for answer in answers])
        for model, seconds in (("nobody", 5), ("digits", 1e-6)):
            try:
                await client.infer(model, inputs, client_timeout=seconds)
            except InferenceServerException as refusal:
                print("grpc: refused:", refusal.status(), refusal.message())


async def main() -> None:
    """Call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", default="127.0.0.1:3000")
    parser.add_argument("--grpc", default="127.0.0.1:3001")
    addresses = parser.parse_args()
    await over_http(addresses.http)
    await over_grpc(addresses.grpc)


if __name__ == "__main__":
    asyncio.run(main())
