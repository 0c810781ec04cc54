from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from service.errors import EngineError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Parameter, Tensor
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
