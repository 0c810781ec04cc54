"""Requests joined along the batch axis. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from service.protocol.messages import Tensor


def concat(members: Sequence[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """One set of inputs out of several with the same names, datatypes and trailing shapes."""
    if len(members) == 1:
        return members[0]
    return {
        name: Tensor(first.datatype, np.concatenate([member[name].array for member in members]))
        for name, first in members[0].items()
    }


def joined_shape(arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[int, ...]:
    """The shape that these have together, the same but for the first axis."""
    if len(arrays) == 1:
        return tuple(arrays[0].shape)
    return (sum(len(array) for array in arrays), *arrays[0].shape[1:])


def concat_into(arrays: Sequence[np.ndarray[Any, Any]], destination: np.ndarray[Any, Any]) -> None:
    """Join them where there is room already: one copy.

    Args:
        arrays: of one dtype.
        destination: of that dtype and their `joined_shape`.
    """
    if len(arrays) == 1:
        np.copyto(destination, arrays[0], casting="no")
    else:
        np.concatenate(arrays, out=destination, casting="no")
