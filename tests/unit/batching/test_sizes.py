from __future__ import annotations

import numpy as np

from service.batching import sizes
from service.protocol.datatypes import Datatype
from service.protocol.messages import Tensor
from tests.unit.doubles import fp32, servable, spec


def test_a_row_of_fixed_shapes_has_so_many_bytes() -> None:
    """All inputs together."""
    inputs = (spec("x", "FP32", (-1, 3, 4)), spec("n", "INT8", (-1, 2)))
    assert sizes.of_a_row(servable(inputs=inputs)) == 3 * 4 * 4 + 2
    assert sizes.of_a_row(servable(inputs=(spec("x", "FP64", (-1,)),))) == 8


def test_a_row_of_open_shape_or_length_has_as_many_bytes_as_it_likes() -> None:
    """An axis of any size, or text."""
    assert sizes.of_a_row(servable(inputs=(spec("x", "FP32", (-1, -1)),))) is None
    assert sizes.of_a_row(servable(inputs=(spec("x", "BYTES", (-1, 1)),))) is None


def test_the_bytes_of_a_request_are_those_of_its_elements() -> None:
    """Each of BYTES has its length beside it, as on the wire."""
    text = Tensor(Datatype.BYTES, np.array([[b"abc"], [b""]], object))
    assert sizes.of({"x": fp32([[1, 2, 3]]), "t": text}) == 12 + (4 + 3) + 4
