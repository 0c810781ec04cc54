from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from service.errors import InvalidRequestError
from service.protocol.datatypes import Datatype

# The "Tensor Data Types" table of the Open Inference Protocol, and BF16 of Triton.
SIZES = {
    "BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8,
    "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8,
    "FP16": 2, "FP32": 4, "FP64": 8, "BF16": 2, "BYTES": None,
}  # fmt: skip


def test_every_datatype_of_the_protocol_is_known_and_no_other() -> None:
    """The names are those of the protocol's table, and of Triton's BF16."""
    assert {d.name for d in Datatype} == set(SIZES)


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_an_element_has_the_size_of_the_table(name: str, size: int | None) -> None:
    """Sizes are in bytes; BYTES has none of its own."""
    assert Datatype.named(name).itemsize == size


def test_bf16_is_a_numpy_dtype() -> None:
    """BF16 is ml_dtypes' bfloat16, and BYTES are objects."""
    assert Datatype.BF16.dtype == np.dtype(ml_dtypes.bfloat16)
    assert Datatype.BYTES.dtype == np.dtype(object)


def test_numbers_with_a_fraction_are_floats() -> None:
    """The four float types are floats, and nothing else is."""
    assert {d.name for d in Datatype if d.is_float} == {"FP16", "FP32", "FP64", "BF16"}


@pytest.mark.parametrize("name", ["FLOAT", "fp32", "", "FP8", None, 7, "dtype", "is_float"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: object) -> None:
    """The refusal names what was given and everything that would be right."""
    with pytest.raises(InvalidRequestError) as refused:
        Datatype.named(name)
    assert repr(name) in refused.value.message
    assert all(known in refused.value.message for known in SIZES)


def test_a_long_unknown_name_is_shown_in_part() -> None:
    """A megabyte of name does not come back as a megabyte of error."""
    with pytest.raises(InvalidRequestError) as refused:
        Datatype.named("X" * 1_000_000)
    assert len(refused.value.message) < 300
