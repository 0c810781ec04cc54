"""Metrics on held-out data, by the names that the tests of behaviour use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from models.specification import Arrays

_Array = np.ndarray[Any, Any]


def accuracy(given: _Array, right: Arrays) -> float:
    """The share of rows, 0..1, whose answer is `label`: a text as it is, else the largest's place.

    Args:
        given: [n, classes], or texts [n, 1].
        right: `label` [n].
    """
    said = given.ravel() if given.dtype.hasobject else given.argmax(axis=-1)
    return float((said == right["label"]).mean())


def mean_absolute_error(given: _Array, right: Arrays) -> float:
    """The mean distance from `value`, in the output's own unit.

    Args:
        given: [n, 1].
        right: `value` [n].
    """
    return float(np.abs(given.ravel() - right["value"]).mean())


METRICS: Mapping[str, Callable[[_Array, Arrays], float]] = {
    "accuracy": accuracy,
    "mean_absolute_error": mean_absolute_error,
}
