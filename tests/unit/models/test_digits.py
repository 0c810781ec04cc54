"""The network that reads digits, and its training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import digits, uci_digits
from models.verify import run, session
from tests.committed import committed_model


def test_shapes_follow_shapes() -> None:
    """Any number of images gives as many rows of ten logits."""
    network = digits.network().eval()
    for rows in (1, 3, 32):
        images = np.zeros((rows, 1, 8, 8), np.float32)
        assert digits.logits(network, images).shape == (rows, 10)


def test_loss_falls_after_one_step() -> None:
    """One step down the gradient lowers the loss on the same images."""
    seen, _ = uci_digits.load()
    images, labels = torch.from_numpy(seen.images[:64]), torch.from_numpy(seen.labels[:64])
    torch.manual_seed(0)
    network = digits.network().eval()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    before = digits.step(network, optimiser, images, labels)
    after = digits.step(network, optimiser, images, labels)
    assert after < before


def test_seeded_twice_trains_alike() -> None:
    """The same seed gives the same weights, bit for bit; another seed gives others."""
    seen, _ = uci_digits.load()
    first, again, other = (digits.train(seen, epochs=1, seed=seed) for seed in (1, 1, 2))
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name])
    assert not torch.equal(first[0].weight, other[0].weight)


def test_splits_are_stratified_and_apart() -> None:
    """Every digit is held out in its share, ink is 0..1, and no image is in both."""
    seen, unseen = uci_digits.load()
    assert (len(seen.labels), len(unseen.labels)) == (1437, 360)
    assert np.bincount(unseen.labels).min() >= 34
    assert (unseen.images.min(), unseen.images.max()) == (0.0, 1.0)
    assert unseen.images.dtype == np.float32
    shown = {image.tobytes() for image in seen.images}
    assert not any(image.tobytes() in shown for image in unseen.images)


def test_committed_model_reads_held_out_images() -> None:
    """The committed ONNX reads at least 97 % of the held-out images, in one batch as one by one."""
    loaded = session(committed_model("digits"))
    _, unseen = uci_digits.load()
    together = run(loaded, {"image": unseen.images})["logits"]
    assert (together.argmax(axis=1) == unseen.labels).mean() >= 0.97
    alone = run(loaded, {"image": unseen.images[:1]})["logits"]
    assert together[:1] == pytest.approx(alone, abs=1e-4)
