"""Makes a build repeat bit for bit: fixed seeds, one thread, no instruction set of choice.

Floating-point kernels differ in their last bits between instruction sets, and training multiplies
such bits. `pin_arithmetic` asks the libraries for code paths that every x86-64 machine has, so the
same package versions give the same bytes on processors of one maker. Those of another gave others
(torch 2.13, an AMD EPYC after an Intel Xeon). The manifest names the versions and the maker.
"""

from __future__ import annotations

import os
import random

import numpy as np


def pin_arithmetic() -> None:
    """Choose kernels that do not depend on the machine. Has effect before torch is imported."""
    os.environ.setdefault("ATEN_CPU_CAPABILITY", "default")  # torch's own kernels: plain SSE2
    os.environ.setdefault("MKL_CBWR", "COMPATIBLE")  # MKL: one code path on every processor
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # sums in one order


def seed_torch(seed: int) -> None:
    """Seed every generator and forbid what is not deterministic: threads, oneDNN, racing kernels.

    Raises:
        ModuleNotFoundError: torch is not installed.
    """
    import torch  # noqa: PLC0415 - the packaging of finished models needs no torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the legacy generator is the global one to pin
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(mode=True)
    torch.set_num_threads(1)
    torch.backends.mkldnn.enabled = False  # picks its kernels by the processor
