"""Two models, each over both wires: the same code, with another module and another port."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http


def read_digits(triton: Any, client: Any) -> list[int]:
    """Ask about two pictures in one request: the first axis counts them."""
    pictures = np.zeros((2, 1, 8, 8), np.float32)  # 0 is paper, 1 is ink
    pictures[0, 0, :, 3:5] = 1.0  # a stroke
    pictures[1, 0, 1:7, 2:6] = 1.0  # a ring
    pictures[1, 0, 2:6, 3:5] = 0.0
    image = triton.InferInput("image", pictures.shape, "FP32").set_data_from_numpy(pictures)
    logits = client.infer("digits", [image]).as_numpy("logits")
    return [int(digit) for digit in logits.argmax(axis=1)]


def route(triton: Any, client: Any, country: str, weight_kg: float) -> str:
    """Text is BYTES: an array of objects on the way there, bytes on the way back."""
    inputs = [
        triton.InferInput("destination", [1, 1], "BYTES"),
        triton.InferInput("weight_kg", [1, 1], "FP32"),
    ]
    inputs[0].set_data_from_numpy(np.array([[country]], np.object_))
    inputs[1].set_data_from_numpy(np.array([[weight_kg]], np.float32))
    outputs = [triton.InferRequestedOutput("route")]  # the other one is not even sent
    answer = client.infer("parcel_router", inputs, outputs=outputs)
    return str(answer.as_numpy("route")[0, 0].decode())


def main() -> None:
    """Call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", default="127.0.0.1:3000")
    parser.add_argument("--grpc", default="127.0.0.1:3001")
    addresses = parser.parse_args()
    for wire, triton, address in (
        ("http", tritonclient.http, addresses.http),
        ("grpc", tritonclient.grpc, addresses.grpc),
    ):
        with triton.InferenceServerClient(address) as client:
            print(f"{wire}: digits {read_digits(triton, client)}")
            print(f"{wire}: 2.5 kg to Iceland go by {route(triton, client, 'IS', 2.5)}")


if __name__ == "__main__":
    main()
