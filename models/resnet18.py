"""`resnet18`: an image-sized load. Its weights are random, so its answers mean nothing.

Takes `image` FP32 [-1, 3, 224, 224] and gives `logits` FP32 [-1, 1000]. The network is that of
He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385, table 1, 18
layers, with projections where a block changes the shape (option B).

45 MB: it is not committed, but made where it is wanted (`lupine export resnet18`). The weights are
drawn with NumPy, whose generator gives the same numbers on every processor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from models.export import PACKAGES, SOURCES, answers, export
from models.specification import Build, Case, Kind, ModelSpec, TensorRT
from service.protocol.datatypes import Datatype
from service.protocol.messages import TensorSpec

SPEC = ModelSpec(
    name="resnet18",
    kind=Kind.DRAWN,
    summary="nothing: random weights, for a load of images",
    inputs=(TensorSpec(name="image", datatype=Datatype.FP32, shape=(-1, 3, 224, 224)),),
    outputs=(TensorSpec(name="logits", datatype=Datatype.FP32, shape=(-1, 1000)),),
    max_batch_size=32,
    tolerance=1e-3,
    golden_source="torch, the network that was exported",
    licence="Apache-2.0",
    slo_p99_ms=1_000,
    default_timeout_ms=10_000,
    packages=PACKAGES,
    sources=SOURCES,
    tensorrt=TensorRT(optimal_rows=8, fp16_tolerance=0.05),
)

SEED = 13
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # channels, stride of the first block
_BLOCKS = 2  # a stage
_CLASSES = 1000
_TILE = 7  # golden images repeat a tile of 7 by 7 pixels 32 times each way
_REPEATS = 32


class Block(nn.Module):
    """Two 3 by 3 convolutions, and a way around them: [n, c, h, w] to [n, out, h/s, w/s]."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.straight = nn.Sequential(
            nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.around: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.around = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One block."""
        return torch.relu(self.straight(x) + self.around(x))


def network(seed: int = SEED) -> nn.Sequential:
    """The network with weights out of a seed: [n, 3, 224, 224] in, [n, 1000] out."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, padding=3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
    ]
    channels = 64
    for out, stride in _STAGES:
        for block in range(_BLOCKS):
            layers.append(Block(channels, out, stride if block == 0 else 1))
            channels = out
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, _CLASSES)]
    model = nn.Sequential(*layers)
    _draw_weights(model, seed)
    return model.eval()


def _draw_weights(model: nn.Module, seed: int) -> None:
    """Normal weights of variance 2 / fan-in (He et al. 2015, arXiv:1502.01852); biases are 0."""
    draw = np.random.default_rng(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = math.prod(module.weight.shape[1:])
            drawn = draw.standard_normal(tuple(module.weight.shape), np.float32)
            scaled = drawn * np.float32(math.sqrt(2 / fan_in))
            with torch.no_grad():
                module.weight.copy_(torch.from_numpy(scaled))
                if module.bias is not None:
                    module.bias.zero_()


def logits(model: nn.Module, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the network says of images [n, 3, 224, 224]: FP32 [n, 1000]."""
    return answers(model, SPEC, {"image": images})["logits"]


def build(seed: int | None = None) -> Build:
    """Draw the weights and export.

    Raises:
        ModelError: the export differs from the network.
    """
    chosen = SEED if seed is None else seed
    model = network(chosen)
    images = np.random.default_rng(chosen).random((32, 3, 224, 224), np.float32)
    return Build(
        onnx=export(model, SPEC, {"image": images}),
        facts={"seed": chosen, "weights": "random, drawn with NumPy"},
        golden=lambda: _golden(model),
    )


def _golden(model: nn.Module) -> Sequence[Case]:
    draw = np.random.default_rng(SEED)
    tiles = {
        "black": np.zeros((1, 3, _TILE, _TILE), np.float32),
        "white": np.ones((1, 3, _TILE, _TILE), np.float32),
        "a pattern": draw.random((1, 3, _TILE, _TILE), np.float32).round(3),
        "two at once": draw.random((2, 3, _TILE, _TILE), np.float32).round(3),
    }
    cases = []
    for name, tile in tiles.items():
        image = np.tile(tile, (1, 1, _REPEATS, _REPEATS))
        cases.append(
            Case(name=name, inputs={"image": image}, outputs={"logits": logits(model, image)})
        )
    return cases
