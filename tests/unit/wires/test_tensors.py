from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.errors import InvalidRequestError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Tensor
from service.wires import tensors

NUMBERS = [d for d in Datatype if d is not Datatype.BYTES]


def texts(*values: bytes) -> Tensor:
    array = np.empty(len(values), np.object_)
    array[:] = values
    return Tensor(Datatype.BYTES, array)


@st.composite
def any_tensor(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from(Datatype))
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    if datatype is Datatype.BYTES:
        count = int(np.prod(shape, dtype=int))
        flat = texts(*draw(st.lists(st.binary(max_size=20), min_size=count, max_size=count)))
        return Tensor(datatype, flat.array.reshape(shape))
    itemsize = datatype.itemsize
    assert itemsize
    octets: np.ndarray[Any, Any] = draw(arrays.arrays(np.uint8, (*shape, itemsize)))
    if datatype is Datatype.BOOL:
        octets = octets & 1
    return Tensor(datatype, octets.reshape(-1).view(datatype.dtype).reshape(shape))


def refusal(datatype: Datatype, shape: tuple[int, ...], data: bytes) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        tensors.decode("x", datatype, shape, data)
    assert "'x'" in refused.value.message
    return refused.value.message


@given(any_tensor())
def test_what_was_encoded_decodes_to_itself(tensor: Tensor) -> None:
    """Of every datatype and shape, bit for bit, NaN payloads and empty tensors included."""
    data = bytes(tensors.encode(tensor))
    found = tensors.decode("x", tensor.datatype, tensor.shape, data)
    assert found.datatype is tensor.datatype
    assert found.shape == tensor.shape
    assert found.array.dtype == tensor.datatype.dtype
    assert bytes(tensors.encode(found)) == data


@given(any_tensor(), st.binary(max_size=64))
def test_any_bytes_are_a_tensor_or_a_refusal(tensor: Tensor, data: bytes) -> None:
    """No bytes raise anything but InvalidRequestError."""
    try:
        found = tensors.decode("x", tensor.datatype, tensor.shape, data)
    except InvalidRequestError:
        return
    assert bytes(tensors.encode(found)) == data


def test_numbers_are_little_endian_and_row_major() -> None:
    """As the binary extension says."""
    tensor = Tensor(Datatype.INT32, np.array([[1, 2], [3, 4]], np.int32))
    assert bytes(tensors.encode(tensor)) == struct.pack("<4i", 1, 2, 3, 4)


def test_a_view_that_is_not_contiguous_is_encoded_in_its_own_order() -> None:
    """A transposed array goes out as it reads."""
    array = np.array([[1, 2], [3, 4]], np.int32).T
    assert bytes(tensors.encode(Tensor(Datatype.INT32, array))) == struct.pack("<4i", 1, 3, 2, 4)


def test_text_is_prefixed_with_its_length() -> None:
    """Four bytes, little-endian, unsigned."""
    assert bytes(tensors.encode(texts(b"ab", b""))) == b"\x02\0\0\0ab\0\0\0\0"


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_are_not_copied(datatype: Datatype) -> None:
    """The tensor is a read-only view into the bytes that arrived."""
    data = bytes(4 * (datatype.itemsize or 0))
    found = tensors.decode("x", datatype, (4,), data)
    assert not found.array.flags.writeable
    assert np.shares_memory(found.array, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("datatype", NUMBERS)
def test_a_wrong_length_is_refused_with_the_right_one(datatype: Datatype) -> None:
    """One byte short and one too many."""
    right = 6 * (datatype.itemsize or 0)
    for length in (right - 1, right + 1, 0):
        text = refusal(datatype, (2, 3), bytes(length))
        assert f"shape [2, 3] of {datatype.name} takes {right} bytes, got {length}" in text


def test_a_bool_is_0_or_1() -> None:
    """The byte 2 is neither."""
    assert "0 or 1" in refusal(Datatype.BOOL, (3,), b"\0\1\2")


def test_text_shorter_than_its_prefixes_is_refused() -> None:
    """Before anything is allocated for a shape that promises a billion elements."""
    assert "4000000000 bytes, got 3" in refusal(Datatype.BYTES, (1_000_000_000,), b"abc")


def test_text_that_runs_past_the_end_is_refused_with_its_place() -> None:
    """The element, what it says, and what is left."""
    text = refusal(Datatype.BYTES, (2,), b"\x01\0\0\0a\x09\0\0\0b")
    assert "element 1 of 2 says 9 bytes, 1 are left" in text


def test_text_without_a_prefix_is_refused_with_its_place() -> None:
    """The first element ate the second one's prefix."""
    text = refusal(Datatype.BYTES, (2,), b"\x04\0\0\0abcd")
    assert "element 1 of 2 has no length prefix" in text


def test_text_left_over_is_refused_with_its_count() -> None:
    """Where the elements end, and how much follows."""
    text = refusal(Datatype.BYTES, (1,), b"\x01\0\0\0abc")
    assert "end at byte 5, 2 bytes are left over" in text


def test_a_shape_beyond_numpy_is_refused() -> None:
    """Zero elements, and sizes that overflow."""
    assert "too big" in refusal(Datatype.FP64, (0, 2**31 - 1, 2**31 - 1, 2**31 - 1), b"")


@pytest.mark.parametrize("datatype", Datatype)
def test_a_size_below_zero_is_refused(datatype: Datatype) -> None:
    """Whatever the wire lets through, no shape has it."""
    for shape in ((-1,), (-1, -1), (-2, 3), (-1, -1, 0)):
        refusal(datatype, shape, b"")
