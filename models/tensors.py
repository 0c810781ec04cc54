"""Tensors in files: the protocol's own JSON form, and a short one for what repeats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from models.specification import ModelError
from service.protocol.datatypes import Datatype

_DIGITS = 7  # significant; what a FP32 holds


def to_json(
    name: str, datatype: Datatype, array: np.ndarray[Any, Any], *, compact: bool = True
) -> dict[str, Any]:
    """One tensor as `{"name", "datatype", "shape", "data"}`, as a request has it.

    The compact form is for files: floats have 7 significant digits, and an image that is a tile
    repeated along its last two axes has `tile`, the tile's shape, and `data` for one tile.
    """
    tile = _tile(array) if compact else array
    flat = tile.ravel().tolist()
    if datatype is Datatype.BYTES:
        flat = [element.decode() for element in flat]
    elif datatype.is_float and compact:
        flat = [float(f"{element:.{_DIGITS}g}") for element in flat]
    repeated = {"tile": list(tile.shape)} if tile is not array else {}
    return {
        "name": name,
        "datatype": datatype.name,
        "shape": list(array.shape),
        **repeated,
        "data": flat,
    }


def from_json(tensors: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors of a file by name.

    Raises:
        ModelError: one is not in the form that `to_json` gives.
    """
    found = {}
    for tensor in tensors:
        name = tensor.get("name", "without a name")
        try:
            datatype = Datatype[tensor["datatype"]]
            shape = tuple(tensor["shape"])
            kept = tuple(tensor.get("tile", shape))
            data = [_bytes(one) if datatype is Datatype.BYTES else one for one in tensor["data"]]
            array = np.array(data, datatype.dtype).reshape(kept)
            times = [whole // part for whole, part in zip(shape, kept, strict=True)]
            found[tensor["name"]] = np.tile(array, times) if kept != shape else array
        except KeyError as error:
            raise ModelError(f"tensor {name!r}: {error} is missing or unknown") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"tensor {name!r}: {error}") from None
    return found


def _bytes(element: Any) -> bytes:
    if not isinstance(element, str):
        raise TypeError(f"BYTES are written as texts, not as {element!r:.50}")
    return element.encode()


_LEAST_TO_REPEAT = 4_096  # elements; below, nothing is gained
_IMAGE_AXES = 4


def _tile(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The smallest square tile that an image [n, c, h, w] repeats, or the array itself."""
    if array.ndim != _IMAGE_AXES or array.size < _LEAST_TO_REPEAT:
        return array
    height, width = array.shape[2:]
    for side in range(1, math.isqrt(height * width)):
        if height % side == 0 and width % side == 0:
            tile = array[:, :, :side, :side]
            if np.array_equal(np.tile(tile, (1, 1, height // side, width // side)), array):
                return tile
    return array
