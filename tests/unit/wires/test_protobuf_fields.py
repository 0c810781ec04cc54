from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from service.wires import protobuf_fields

INPUTS = 5


def message(inputs: int, axes: int = 2) -> bytes:
    """A ModelInferRequest with so many inputs, each with as many parameters as axes."""
    request = service_pb2.ModelInferRequest(model_name="m")
    for index in range(inputs):
        item = request.inputs.add(name=str(index), datatype="FP32", shape=[1] * axes)
        item.contents.fp32_contents.extend([0.5] * 1000)
        for axis in range(axes):
            item.parameters[str(axis)].double_param = 0.5
    return bytes(request.SerializeToString())


def test_the_fields_of_a_message_are_counted() -> None:
    """The name of the model is one as well."""
    assert not protobuf_fields.exceed(message(9), 10, INPUTS)
    assert protobuf_fields.exceed(message(10), 10, INPUTS)


def test_the_fields_of_a_nested_message_are_counted_apart() -> None:
    """Name, datatype, packed shape, contents, and each parameter; not what is in those."""
    assert not protobuf_fields.exceed(message(1, axes=6), 10, INPUTS)
    assert protobuf_fields.exceed(message(1, axes=7), 10, INPUTS)
    assert not protobuf_fields.exceed(message(1, axes=7), 10, 99)


@pytest.mark.parametrize("data", [b"\xff" * 20, b"\x0a\xff", b"\x0b", b"\x08", b"\x09\x00"])
def test_what_is_no_protobuf_is_left_to_the_parser(data: bytes) -> None:
    """It says what is wrong with it."""
    assert not protobuf_fields.exceed(data, 10, INPUTS)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_count(data: bytes) -> None:
    """Whatever a client sends."""
    assert protobuf_fields.exceed(data, 1000, INPUTS) is False


def test_a_text_is_found_without_parsing() -> None:
    """The first in its field, wherever it stands among those that are looked at."""
    request = service_pb2.ModelInferRequest(model_name="m", model_version="7", id="mine")
    data = bytes(request.SerializeToString())
    assert protobuf_fields.text(data + message(2000), 3, 16) == "mine"
    assert protobuf_fields.text(message(2) + data, 3, 16) == "mine"
    assert protobuf_fields.text(message(200) + data, 3, 16) == ""


@pytest.mark.parametrize(
    "data", [b"", b"\x1a", b"\x1a\x05abc", b"\x1a\x02\xff\xfe", b"\x18\x05", b"\xff" * 20]
)
def test_what_is_no_text_is_not_found(data: bytes) -> None:
    """Cut off, no UTF-8, of another kind, or no protobuf at all."""
    assert protobuf_fields.text(data, 3, 16) == ""


@given(st.binary(max_size=200))
def test_no_bytes_break_the_search(data: bytes) -> None:
    """Whatever a client sends."""
    assert isinstance(protobuf_fields.text(data, 3, 16), str)
