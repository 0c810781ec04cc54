"""The image-sized load: its shapes, and weights that depend on the seed alone."""

from __future__ import annotations

import numpy as np
import torch

from models import resnet18


def test_shapes_follow_shapes() -> None:
    """Any number of images gives as many rows of 1,000 logits, which are numbers."""
    model = resnet18.network()
    for rows in (1, 2):
        images = np.random.default_rng(0).random((rows, 3, 224, 224), np.float32)
        answer = resnet18.logits(model, images)
        assert answer.shape == (rows, 1000)
        assert np.isfinite(answer).all()


def test_eighteen_layers() -> None:
    """17 convolutions and a linear layer, beside three projections; 11.7 M weights."""
    model = resnet18.network()
    convolutions = [one for one in model.modules() if isinstance(one, torch.nn.Conv2d)]
    assert len(convolutions) == 17 + 3
    assert sum(one.kernel_size == (1, 1) for one in convolutions) == 3
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_689_512


def test_weights_are_the_seeds() -> None:
    """The same seed gives the same weights, whatever else has been drawn; another gives others."""
    first = resnet18.network(1)[0].weight
    torch.rand(5)
    np.random.default_rng(9).random(5)
    assert torch.equal(first, resnet18.network(1)[0].weight)
    assert not torch.equal(first, resnet18.network(2)[0].weight)
