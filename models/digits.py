"""`digits`: a small convolutional network that reads handwritten digits of 8 by 8 pixels.

Takes `image` FP32 [-1, 1, 8, 8], ink scaled to 0..1, and gives `logits` FP32 [-1, 10]. Trained in
seconds, always to the same weights (see `models.determinism` for where that holds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from models import uci_digits
from models.catalog import Build, Case, ModelError, ModelSpec
from models.determinism import seed_torch
from models.export import export
from models.uci_digits import Digits

SEED = 7
EPOCHS = 30
REQUIRED_ACCURACY = 0.97
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
    """Train a new network; the same arguments give the same weights."""
    seed_torch(seed)
    model = network()
    images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
    optimiser = torch.optim.AdamW(model.parameters(), lr=_PEAK_RATE, weight_decay=_WEIGHT_DECAY)
    steps = epochs * -(-len(images) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _PEAK_RATE, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(_BATCH):
            step(model, optimiser, images[chosen], labels[chosen])
            schedule.step()
    return model.eval()


def logits(model: nn.Module, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the network says of images [n, 1, 8, 8]: FP32 [n, 10]."""
    with torch.no_grad():
        answer: np.ndarray[Any, Any] = model(torch.from_numpy(images)).numpy()
    return answer


def accuracy(model: nn.Module, digits: Digits) -> float:
    """The share of images, 0..1, that the network reads rightly."""
    return float((logits(model, digits.images).argmax(axis=1) == digits.labels).mean())


def build(spec: ModelSpec) -> Build:
    """Train, measure on the held-out split, and export.

    Raises:
        ModelError: fewer than 97 % of the held-out images are read rightly, or the export differs.
    """
    seen, unseen = uci_digits.load()
    model = train(seen)
    reached = accuracy(model, unseen)
    if reached < REQUIRED_ACCURACY:
        raise ModelError(
            f"digits reads {reached:.2%} of the held-out images, {REQUIRED_ACCURACY:.0%} are asked"
        )
    facts = {
        "seed": SEED,
        "training_images": len(seen.labels),
        "held_out_images": len(unseen.labels),
        "held_out_accuracy": round(reached, 4),
    }
    return Build(
        onnx=export(model, spec, {"image": unseen.images}),
        facts=facts,
        golden=lambda: _golden(model, unseen),
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
