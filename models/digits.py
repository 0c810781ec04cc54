"""`digits`: a small convolutional network that reads handwritten digits of 8 by 8 pixels.

Takes `image` FP32 [-1, 1, 8, 8], ink scaled to 0..1, and gives `logits` FP32 [-1, 10]. Trained in
seconds, always to the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from models import uci_digits
from models.determinism import seed_everything
from models.export import PACKAGES, SOURCES, answers, export
from models.specification import Build, Case, Kind, ModelSpec, TensorRT
from models.training import SOURCES as TRAINING
from models.training import fit
from models.uci_digits import Digits
from service.protocol.datatypes import Datatype
from service.protocol.messages import TensorSpec

SPEC = ModelSpec(
    name="digits",
    kind=Kind.TRAINED,
    summary="which digit a picture of 8 by 8 pixels shows",
    inputs=(TensorSpec(name="image", datatype=Datatype.FP32, shape=(-1, 1, 8, 8)),),
    outputs=(TensorSpec(name="logits", datatype=Datatype.FP32, shape=(-1, 10)),),
    max_batch_size=256,
    tolerance=1e-4,
    golden_source="torch, the network that was exported",
    licence="Apache-2.0 (model); CC BY 4.0 (UCI digits)",
    slo_p99_ms=100,
    default_timeout_ms=5_000,
    packages=(*PACKAGES, "scikit-learn"),
    sources=(*SOURCES, *TRAINING, "models/uci_digits.py"),
    datasets=("uci_digits",),
    tensorrt=TensorRT(optimal_rows=32, fp16_tolerance=0.1),
)

SEED = 7
EPOCHS = 12
_BATCH = 64
_PEAK_RATE = 4e-3
_WEIGHT_DECAY = 1e-3


def network() -> nn.Sequential:
    """The untrained network, about 15,000 weights: [n, 1, 8, 8] in, [n, 10] out."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(128, 10),
    )


def step(
    model: nn.Module, optimiser: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor
) -> float:
    """One step down the gradient of the cross-entropy; gives the loss from before the step."""
    optimiser.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def train(digits: Digits, epochs: int = EPOCHS, seed: int = SEED) -> nn.Sequential:
    """Train a new network; the same arguments give the same weights, FP32."""
    return fit(
        network,
        torch.from_numpy(digits.images).double(),
        torch.from_numpy(digits.labels),
        step,
        seed=seed,
        epochs=epochs,
        batch=_BATCH,
        peak_rate=_PEAK_RATE,
        weight_decay=_WEIGHT_DECAY,
    )


def logits(model: nn.Module, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the network says of images [n, 1, 8, 8]: FP32 [n, 10]."""
    return answers(model, SPEC, {"image": images})["logits"]


def accuracy(model: nn.Module, digits: Digits) -> float:
    """The share of images, 0..1, that the network reads rightly."""
    return float((logits(model, digits.images).argmax(axis=1) == digits.labels).mean())


def build(seed: int | None = None) -> Build:
    """Train, measure on the held-out split, and export.

    Raises:
        ModelError: the export differs from the network.
    """
    chosen = SEED if seed is None else seed
    determinism = seed_everything(chosen)
    seen, unseen = uci_digits.load()
    model = train(seen, seed=chosen)
    return Build(
        onnx=export(model, SPEC, {"image": unseen.images}),
        facts={
            "seed": chosen,
            "determinism": determinism,
            "training_images": len(seen.labels),
            "held_out_images": len(unseen.labels),
        },
        metrics={"accuracy": round(accuracy(model, unseen), 4)},
        golden=lambda: _golden(model, unseen),
        held_out=lambda: Case(
            name="held-out images",
            inputs={"image": unseen.images},
            outputs={"label": unseen.labels},
        ),
    )


def _golden(model: nn.Module, unseen: Digits) -> Sequence[Case]:
    """The first held-out image of each digit, and two made ones: no ink, and nothing but ink."""
    chosen = [int(np.flatnonzero(unseen.labels == digit)[0]) for digit in range(10)]
    cases = {
        f"a held-out {digit}": unseen.images[row : row + 1] for digit, row in enumerate(chosen)
    }
    cases["no ink"] = np.zeros((1, 1, 8, 8), np.float32)
    cases["all ink"] = np.ones((1, 1, 8, 8), np.float32)
    cases["three at once"] = unseen.images[:3]
    return [
        Case(name=name, inputs={"image": image}, outputs={"logits": logits(model, image)})
        for name, image in cases.items()
    ]
