"""Bytes of what goes into a run. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from service.protocol.messages import Servable, Tensor

_LENGTH_BYTES = 4  # before each element of BYTES, as the binary tensor extension has it


def of_a_row(servable: Servable) -> int | None:
    """Bytes of all inputs of one row; None where the model leaves some of it open.

    Open are axes of any size, beside that of the batch, and elements of any length.
    """
    total = 0
    for spec in servable.inputs.values():
        itemsize, shape = spec.datatype.itemsize, spec.shape[1:]
        if itemsize is None or any(size < 0 for size in shape):
            return None
        total += itemsize * math.prod(shape)
    return total


def of(inputs: Mapping[str, Tensor]) -> int:
    """Bytes of these inputs."""
    total = 0
    for tensor in inputs.values():
        array = tensor.array
        if tensor.datatype.itemsize is None:
            total += _LENGTH_BYTES * array.size + sum(map(len, array.flat))
        else:
            total += array.nbytes
    return total
