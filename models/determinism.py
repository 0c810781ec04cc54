"""Makes a build repeat bit for bit, in another process and on another maker's processor.

Two things stand in the way. Whatever draws random numbers must be seeded: `seed_everything` does
it in one place, and gives what it did for the manifest and the run in the registry. And
floating-point kernels differ in their last bits between instruction sets and thread counts, which
training multiplies, tenfold an epoch. So networks here train in double precision (`in_double`), and
`forget_rounding` rounds all that is learned to 16 significant bits after each epoch: what another
processor did otherwise, about 1e-14 of a weight by then, is far below what that takes away, and
gone (ADR 0017).
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

_KEPT_BITS = 16  # of the 24 in a FP32's significand
_THREADS = 1


def seed_everything(seed: int) -> dict[str, str | bool | int]:
    """Seed Python, NumPy and torch, and forbid what is not deterministic; gives what was set.

    Args:
        seed: 0 to 2^32 - 1, as NumPy takes it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS: sums in one order
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the legacy generator is the global one to pin
    torch.manual_seed(seed)  # every device's
    torch.use_deterministic_algorithms(mode=True)
    torch.set_num_threads(_THREADS)
    torch.backends.mkldnn.enabled = False  # picks its kernels by the processor
    torch.backends.cudnn.benchmark = False  # would choose kernels by how fast they were just now
    torch.backends.cudnn.deterministic = True
    return {
        "seeded": "python, numpy, torch, data loader",
        "deterministic_algorithms": True,
        "cudnn_benchmark": False,
        "cudnn_deterministic": True,
        "threads": _THREADS,
        "significant_bits": _KEPT_BITS,
    }


def loader(
    rows: torch.utils.data.Dataset, *, batch: int, seed: int, workers: int = 0
) -> torch.utils.data.DataLoader:
    """A loader whose order depends on the seed alone, not on how many workers it has.

    Args:
        rows: what there is to draw from.
        batch: rows of a step.
        seed: of the order; a worker's own generators are seeded from it and the worker's number.
        workers: processes that read ahead.
    """
    return torch.utils.data.DataLoader(
        rows,
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        worker_init_fn=seed_worker,
        generator=torch.Generator().manual_seed(seed),
    )


def seed_worker(_: int) -> None:
    """Seed Python and NumPy in a loader's worker: torch has seeded only its own there."""
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the legacy generator is the global one to pin


@contextlib.contextmanager
def in_double() -> Iterator[None]:
    """Within the block torch makes FP64 weights, whose random draws differ by 1e-17, not 1e-8."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def forget_rounding(network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Round an FP64 network's weights, and its optimiser's moments, to 16 significant bits."""
    moments = (value for state in optimiser.state.values() for value in state.values())
    _round_each((*network.state_dict().values(), *moments))


def settle(network: torch.nn.Module) -> Any:
    """Bring a network trained in FP64 to FP32, each weight rounded to 16 significant bits.

    Changed in place, and given back, in evaluation mode.
    """
    _round_each(network.state_dict().values())
    return network.float().eval()


def _round_each(tensors: Iterable[torch.Tensor]) -> None:
    with torch.no_grad():
        for tensor in tensors:
            if tensor.dtype == torch.float64:
                tensor.copy_(torch.from_numpy(rounded(tensor.numpy())))


def rounded(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """FP64 values, of any shape, at 16 significant bits; each is then a FP32 exactly.

    `frexp` and `ldexp` are exact, and `rint` rounds to even, on every machine (IEEE 754).
    """
    fraction, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(np.ldexp(fraction, _KEPT_BITS)), exponent - _KEPT_BITS))
