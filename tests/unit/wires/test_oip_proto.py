from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from service.errors import EngineError, InvalidRequestError, UnsupportedError
from service.protocol.datatypes import Datatype
from service.protocol.messages import InferResponse, Parameter, Tensor
from service.wires import oip_proto
from tests.unit.doubles import fp32, servable


def response(*outputs: tuple[str, str, list[int]], raw: list[bytes]) -> Any:
    message = service_pb2.ModelInferResponse(raw_output_contents=raw)
    for name, datatype, shape in outputs:
        message.outputs.add(name=name, datatype=datatype, shape=shape)
    return message


def test_a_request_names_the_exact_version() -> None:
    """Unversioned, Triton would answer with whatever version is highest."""
    message = oip_proto.encode_request(servable("m", "7"), {"x": fp32([[1]])}, ["y"], {})
    assert (message.model_name, message.model_version) == ("m", "7")


def test_a_request_carries_each_input_raw_and_in_order() -> None:
    """The raw contents are in the order of the inputs."""
    text = np.array([[b"hi"]], np.object_)
    inputs = {"t": Tensor(Datatype.BYTES, text), "x": fp32([[1, 2]])}
    message = oip_proto.encode_request(servable(), inputs, ["y", "z"], {})
    assert [(i.name, i.datatype, list(i.shape)) for i in message.inputs] == [
        ("t", "BYTES", [1, 1]),
        ("x", "FP32", [1, 2]),
    ]
    assert list(message.raw_input_contents) == [
        b"\x02\0\0\0hi",
        np.array([1, 2], np.float32).tobytes(),
    ]
    assert [o.name for o in message.outputs] == ["y", "z"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, "bool_param"), (-3, "int64_param"), (0.5, "double_param"), ("a", "string_param")],
)
def test_a_parameter_keeps_its_kind(value: Parameter, kind: str) -> None:
    """True stays a bool and does not become 1."""
    message = oip_proto.encode_request(servable(), {}, [], {"p": value})
    assert message.parameters["p"].WhichOneof("parameter_choice") == kind
    assert getattr(message.parameters["p"], kind) == value


@pytest.mark.parametrize("datatype", [d for d in Datatype if d is not Datatype.BYTES])
def test_an_answer_of_every_datatype_is_decoded(datatype: Datatype) -> None:
    """From raw bytes to the tensor they are."""
    array = np.array([[0, 1]]).astype(datatype.dtype)
    message = response(("y", datatype.name, [1, 2]), raw=[array.tobytes()])
    found = oip_proto.decode_outputs(message)["y"]
    assert found.datatype is datatype
    assert np.array_equal(found.array, array)


def test_an_answer_of_text_is_decoded() -> None:
    """BYTES come with their lengths."""
    found = oip_proto.decode_outputs(response(("y", "BYTES", [1]), raw=[b"\x02\0\0\0hi"]))
    assert found["y"].array.tolist() == [b"hi"]


def test_an_answer_of_no_bytes_is_the_engines_failure() -> None:
    """A Python backend with the wrong NumPy answers so, and nothing else tells."""
    with pytest.raises(EngineError, match=r"takes 8 bytes, got 0"):
        oip_proto.decode_outputs(response(("y", "FP32", [1, 2]), raw=[b""]))


def test_an_answer_of_an_unknown_datatype_is_the_engines_failure() -> None:
    """It is not the client who was wrong."""
    with pytest.raises(EngineError, match="'FP8'"):
        oip_proto.decode_outputs(response(("y", "FP8", [1]), raw=[b"1"]))


def test_an_answer_without_its_contents_is_the_engines_failure() -> None:
    """As many raw contents as outputs are expected."""
    with pytest.raises(EngineError, match="2 outputs and 1 raw contents"):
        oip_proto.decode_outputs(
            response(("y", "UINT8", [1]), ("z", "UINT8", [1]), raw=[b"1"]),
        )


# ------------------------------------------------------------------ requests of clients


def asked(**more: Any) -> Any:
    """A ModelInferRequest for one row of `x`."""
    message = service_pb2.ModelInferRequest(model_name="m", **more)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    message.raw_input_contents.append(np.array([1, 2], np.float32).tobytes())
    return message


def test_a_clients_request_is_decoded_whole() -> None:
    """Names, parameters of every kind, outputs, deadline and priority."""
    message = asked(model_version="3", id="r-1")
    message.outputs.add(name="y")
    for key, field, value in (
        ("b", "bool_param", True),
        ("i", "int64_param", -1),
        ("u", "uint64_param", 2),
        ("d", "double_param", 0.5),
        ("s", "string_param", "t"),
        ("priority", "uint64_param", 4),
        ("timeout", "int64_param", 5_000_000),
        ("triton_enable_empty_final_response", "bool_param", True),
    ):
        setattr(message.parameters[key], field, value)
    began = time.monotonic()
    found = oip_proto.decode_request(message, timeout=60)
    assert (found.model, found.version, found.id) == ("m", "3", "r-1")
    assert found.outputs == ("y",)
    assert found.priority == 4
    assert 4.9 < found.deadline - began < 5.1
    assert found.parameters == {"b": True, "i": -1, "u": 2, "d": 0.5, "s": "t"}
    assert found.inputs["x"].array.tolist() == [[1, 2]]


def test_raw_contents_are_not_copied() -> None:
    """The tensor is a view on the bytes that the message handed out."""
    found = oip_proto.decode_request(asked()).inputs["x"].array
    assert not found.flags.owndata
    assert not found.flags.writeable


def test_a_response_is_encoded_raw_in_its_order() -> None:
    """With the version that made it, and its parameters."""
    text = Tensor(Datatype.BYTES, np.array([b"hi"], np.object_))
    message = oip_proto.encode_response(
        InferResponse(
            model="m",
            version="3",
            id="r-1",
            outputs={"t": text, "y": fp32([[1.5]])},
            parameters={"final": True},
        )
    )
    assert (message.model_name, message.model_version, message.id) == ("m", "3", "r-1")
    assert [(o.name, o.datatype, list(o.shape)) for o in message.outputs] == [
        ("t", "BYTES", [1]),
        ("y", "FP32", [1, 1]),
    ]
    assert list(message.raw_output_contents) == [
        b"\x02\0\0\0hi",
        np.array([1.5], np.float32).tobytes(),
    ]
    assert message.parameters["final"].bool_param


def _two_inputs(message: Any) -> None:
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    message.raw_input_contents.append(bytes(8))


def _both_contents(message: Any) -> None:
    message.inputs[0].contents.fp32_contents.extend([1, 2])


def _only_typed(message: Any, field: str, values: list[Any], datatype: str = "INT8") -> None:
    del message.raw_input_contents[:]
    message.inputs[0].datatype = datatype
    getattr(message.inputs[0].contents, field).extend(values)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda m: m.raw_input_contents.append(b""), "1 inputs and 2 raw_input_contents"),
        (_two_inputs, "input 'x' is given twice"),
        (_both_contents, "input 'x' has both contents and raw_input_contents"),
        (lambda m: _only_typed(m, "int_contents", [1]), r"takes 2 elements, int_contents has 1"),
        (lambda m: _only_typed(m, "int_contents", [1, 128]), "128 is outside INT8's range -128"),
        (lambda m: _only_typed(m, "fp32_contents", [1, 2]), "belong into int_contents, not fp32"),
        (lambda m: _only_typed(m, "fp32_contents", [1, 2], "BF16"), "BF16 has no typed contents"),
        (lambda m: setattr(m.inputs[0], "datatype", "FP8"), "unknown datatype 'FP8'"),
        (lambda m: setattr(m.inputs[0], "name", ""), "name of an input has 0 characters"),
        (lambda m: m.inputs[0].shape.append(-1), r"shape \[1, 2, -1\]: sizes of 0 to"),
        (lambda m: m.inputs[0].shape.append(1 << 40), "sizes of 0 to 2147483647"),
        (lambda m: m.inputs[0].shape.extend([1] * 40), "has 42 axes, at most 32"),
        (lambda m: m.inputs[0].shape.append(10**9), r"takes 8000000000 bytes, got 8"),
        (lambda m: setattr(m, "id", "x" * 1025), "the id has 1025 characters"),
        (lambda m: m.parameters["p"], "parameter 'p' has no value"),
        (lambda m: [m.outputs.add(name="y") for _ in range(2)], "outputs are named twice"),
        (
            lambda m: [m.outputs.add(name="y") for _ in range(1025)],
            "has 1025 outputs, at most 1024",
        ),
        (lambda m: [m.parameters[str(i)] for i in range(257)], "has 257 parameters, at most 256"),
        (
            lambda m: setattr(m.parameters["sequence_start"], "int64_param", 1),
            "parameter 'sequence_start' is 1: true or false is expected",
        ),
    ],
)
def test_a_message_that_contradicts_itself_is_refused(
    spoil: Callable[[Any], object], reason: str
) -> None:
    """By what is wrong in it."""
    message = asked()
    spoil(message)
    with pytest.raises(InvalidRequestError, match=reason):
        oip_proto.decode_request(message)


def test_bytes_that_are_no_message_are_refused() -> None:
    """By the message that was expected."""
    with pytest.raises(InvalidRequestError, match="the bytes are no ModelInferRequest"):
        oip_proto.parse(service_pb2.ModelInferRequest, b"\xff")


def test_what_is_not_offered_is_told_apart_from_what_is_wrong() -> None:
    """The protocol knows it; this gateway does not have it."""
    message = asked()
    message.inputs[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(UnsupportedError, match="shared memory between client and gateway"):
        oip_proto.decode_request(message)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x2a\x00" * 50_000,  # empty inputs
        b"\x32\x00" * 50_000,  # empty outputs
        b"\x3a\x00" * 50_000,  # empty raw contents
        b"\x22\x00" * 50_000,  # empty parameters
        b"\x2a\x80\x80\x08" + b"\x18\x01" * 65_536,  # an input of 65,536 axes, one by one
        b"\x2a\x80\x80\x08" + b"\x22\x00" * 65_536,  # an input of as many parameters
    ],
    ids=["inputs", "outputs", "raw contents", "parameters", "axes", "parameters of an input"],
)
def test_a_message_of_countless_fields_is_refused_unparsed(bomb: bytes) -> None:
    """Parsed, each of two bytes takes forty."""
    with pytest.raises(InvalidRequestError, match="more than 1024 inputs or outputs"):
        oip_proto.parse_infer(bomb)


def test_a_large_message_of_few_fields_is_parsed() -> None:
    """Its size is in its tensors."""
    message = asked()
    message.inputs[0].shape[1] = 100_000
    message.raw_input_contents[0] = bytes(400_000)
    assert oip_proto.parse_infer(message.SerializeToString()) == message


def test_typed_contents_are_bounded() -> None:
    """Each of their elements is a Python object on its way."""
    message = asked()
    del message.raw_input_contents[:]
    message.inputs[0].contents.fp32_contents.extend([0.0] * ((4 << 20) + 1))
    with pytest.raises(InvalidRequestError, match="raw_input_contents are expected"):
        oip_proto.decode_request(message)
