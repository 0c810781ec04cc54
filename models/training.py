"""Training that gives the same weights in every process and on every processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from models.determinism import forget_rounding, in_double, loader, seed_everything, settle

Network = TypeVar("Network", bound=nn.Module)
Step = Callable[[Network, torch.optim.Optimizer, torch.Tensor, torch.Tensor], float]
"""One step down the gradient on a batch, (network, optimiser, inputs, targets) to the loss."""

SOURCES = ("models/determinism.py", "models/training.py")


def fit(
    make: Callable[[], Network],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    step: Step[Network],
    *,
    seed: int,
    epochs: int,
    batch: int,
    peak_rate: float,
    weight_decay: float = 1e-2,
) -> Network:
    """Make a network and train it: AdamW, its rate rising to a peak and falling again.

    Args:
        make: the untrained network; it draws its weights in FP64.
        inputs: FP64 [n, ...].
        targets: [n, ...], as `step` takes them.
        step: of a batch.
        seed: of the weights, the order and all else that is drawn.
        epochs: passes over the rows.
        batch: rows of a step.
        peak_rate: the largest rate of learning.
        weight_decay: AdamW's.

    Returns:
        The network in FP32, in evaluation mode.
    """
    seed_everything(seed)
    with in_double():
        network = make()
    batches = loader(torch.utils.data.TensorDataset(inputs, targets), batch=batch, seed=seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=peak_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, peak_rate, total_steps=epochs * len(batches)
    )
    network.train()
    for _ in range(epochs):
        for some, right in batches:
            step(network, optimiser, some, right)
            schedule.step()
        forget_rounding(network, optimiser)
    settled: Network = settle(network)
    return settled
