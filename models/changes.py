"""Changes of a model's inputs, as the tests of behaviour name them."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from models.specification import Arrays, ModelError


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done to one input, in this order; what is not named is not done."""

    input: str
    set: float | str | None = None  # every element becomes this
    multiply: float | None = None
    add: float | None = None
    noise: float | None = None  # even within -noise..noise
    seed: int = 0  # of the noise
    least: float | None = None  # clipped to this from below
    most: float | None = None  # and from above
    roll: int | None = None  # along the last axis, by so many elements
    flip: bool = False  # along the last axis


def applied(change: Change, inputs: Arrays) -> Arrays:
    """The inputs with one of them changed; the types and shapes stay.

    Raises:
        ModelError: texts are asked to be numbers, or the other way round.
    """
    array = inputs[change.input]
    if array.dtype.hasobject:
        return {**inputs, change.input: _texts(change, array)}
    if isinstance(change.set, str):
        raise ModelError(f"input {change.input!r} holds numbers, not {change.set!r}")
    changed = array.astype(np.float64)
    if change.set is not None:
        changed = np.full_like(changed, change.set)
    if change.multiply is not None:
        changed = changed * change.multiply
    if change.add is not None:
        changed = changed + change.add
    if change.noise is not None:
        draw = np.random.default_rng(change.seed)
        changed = changed + draw.uniform(-change.noise, change.noise, changed.shape)
    if change.least is not None or change.most is not None:
        changed = np.clip(changed, change.least, change.most)
    if change.roll is not None:
        changed = np.roll(changed, change.roll, axis=-1)
    if change.flip:
        changed = np.flip(changed, axis=-1)
    return {**inputs, change.input: np.ascontiguousarray(changed).astype(array.dtype)}


def _texts(change: Change, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not isinstance(change.set, str):
        raise ModelError(f"input {change.input!r} holds texts: only `set` to a text changes it")
    return np.full_like(array, change.set.encode())
