"""Tensors in files, in the protocol's own JSON form."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from models import tensors
from models.specification import ModelError
from service.protocol.datatypes import Datatype


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("FP32", [[0.1, -3.5], [1e-9, 7.0]]),
        ("INT64", [[1], [-(2**53)]]),
        ("BYTES", [[b"a"], ["ö".encode()]]),
        ("BOOL", [[True], [False]]),
    ],
)
def test_round_trip(datatype: str, values: list[Any]) -> None:
    """What is written is read again, as JSON and with the same type."""
    kind = Datatype[datatype]
    array = np.array(values, kind.dtype)
    written = json.loads(json.dumps(tensors.to_json("x", kind, array, compact=False)))
    read = tensors.from_json([written])["x"]
    assert read.dtype == array.dtype
    assert read.tolist() == array.tolist()


def test_a_repeated_tile_is_written_once() -> None:
    """An image that repeats a tile is a few numbers, and comes back whole; requests have it all."""
    tile = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    image = np.tile(tile, (1, 1, 56, 56))
    written = tensors.to_json("image", Datatype.FP32, image)
    assert (written["shape"], written["tile"], len(written["data"])) == (
        [1, 3, 112, 112],
        [1, 3, 2, 2],
        12,
    )
    assert np.array_equal(tensors.from_json([written])["image"], image)
    assert len(tensors.to_json("image", Datatype.FP32, image, compact=False)["data"]) == image.size


def test_an_image_that_repeats_nothing_is_written_whole() -> None:
    """No tile is made up."""
    image = np.random.default_rng(0).random((1, 3, 40, 40), np.float32)
    assert "tile" not in tensors.to_json("image", Datatype.FP32, image)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        ({"name": "x", "shape": [1], "data": [1]}, "tensor 'x': 'datatype' is missing"),
        ({"name": "x", "datatype": "FP99", "shape": [1], "data": [1]}, "'FP99' is missing or unk"),
        ({"name": "x", "datatype": "FP32", "shape": [2], "data": [1]}, "cannot reshape"),
        ({"name": "x", "datatype": "BYTES", "shape": [1], "data": [1]}, "written as texts"),
    ],
)
def test_what_is_no_tensor_is_refused(tensor: dict[str, Any], reason: str) -> None:
    """A broken file is told by the tensor and what is wrong with it."""
    with pytest.raises(ModelError, match=reason):
        tensors.from_json([tensor])
