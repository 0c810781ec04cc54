"""What makes a build repeat: seeds in one place, and rounding that forgets the processor."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from models import determinism


def test_rounding_keeps_sixteen_bits() -> None:
    """What differs beyond the 16th bit becomes the same, what differs before does not."""
    values = np.array([1.0, -1 / 3, 1e-30, 0.0, 12345.678])
    kept = determinism.rounded(values)
    assert np.array_equal(kept, determinism.rounded(values * (1 + 1e-12)))
    assert not np.array_equal(kept, determinism.rounded(values * (1 + 1e-4)))
    assert kept == pytest.approx(values, rel=2**-16)
    assert np.array_equal(kept, kept.astype(np.float32).astype(np.float64))
    assert determinism.rounded(np.float64(0.1)).shape == ()  # type: ignore[arg-type]


def test_seeding_is_of_every_generator() -> None:
    """Python, NumPy and torch draw the same after the same seed, and the record names them."""

    def draw() -> tuple[float, float, float]:
        return random.random(), np.random.random(), float(torch.rand(1))  # noqa: S311, NPY002 - the generators under test

    recorded = determinism.seed_everything(3)
    first = draw()
    determinism.seed_everything(3)
    assert draw() == first
    determinism.seed_everything(4)
    assert draw() != first
    assert recorded["seeded"] == "python, numpy, torch, data loader"
    assert (recorded["cudnn_benchmark"], recorded["cudnn_deterministic"]) == (False, True)
    assert recorded["threads"] == torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


class Noisy(torch.utils.data.Dataset):
    """Rows that are drawn when they are read."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, row: int) -> float:
        return row + float(np.random.random())  # noqa: NPY002 - what a loader's worker has to seed


def test_a_loader_draws_alike_with_workers() -> None:
    """The order is the seed's alone; workers, twice, draw the same numbers each."""
    rows = torch.arange(20)

    def order(workers: int, seed: int = 1) -> list[int]:
        batches = determinism.loader(rows, batch=4, seed=seed, workers=workers)
        return [int(row) for batch in batches for row in batch]

    assert order(0) == order(2)
    assert order(0) != order(0, seed=2)
    first, again = (
        torch.cat(list(determinism.loader(Noisy(), batch=3, seed=1, workers=2))) for _ in range(2)
    )
    assert torch.equal(first, again)


PROGRAM = """
from models import digits, uci_digits
from models.manifest import sha256
seen, _ = uci_digits.load()
few = uci_digits.Digits(seen.images[:320], seen.labels[:320])
weights = digits.train(few, epochs=4).state_dict().values()
print(sha256(b"".join(tensor.numpy().tobytes() for tensor in weights)))
"""


def test_training_does_not_depend_on_the_processor() -> None:
    """Other kernels of torch, MKL and NumPy, as another processor takes them, learn the same."""
    plain = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
    plain["NPY_DISABLE_CPU_FEATURES"] = "AVX2 FMA3"
    digests = set()
    for kernels in ({}, plain):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | kernels,
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1
