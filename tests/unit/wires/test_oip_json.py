from __future__ import annotations

import json
import math
import time
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.errors import InvalidRequestError, UnsupportedError
from service.protocol.datatypes import Datatype
from service.protocol.messages import InferRequest, InferResponse, Tensor
from service.wires import oip_json, tensors
from service.wires.oip_json import Form

ONES: dict[Datatype, Any] = {datatype: 1.5 if datatype.is_float else 1 for datatype in Datatype} | {
    Datatype.BOOL: True,
    Datatype.BYTES: "é",
}
INTEGERS = [d for d in Datatype if not d.is_float and d not in (Datatype.BOOL, Datatype.BYTES)]
FLOATS = [d for d in Datatype if d.is_float]


def encoded(response: InferResponse, form: Form) -> tuple[bytes, int | None]:
    """The whole body, and the length of its JSON."""
    parts, length = oip_json.encode_response(response, form)
    return b"".join(parts), length


JSON = Form({}, default=False)


def decode(message: Any, tail: bytes | None = None, **more: Any) -> InferRequest:
    head = message if isinstance(message, bytes) else json.dumps(message).encode()
    return oip_json.decode_request(
        memoryview(head + (tail or b"")),
        **{
            "model": "m",
            "version": "",
            "header_length": None if tail is None else len(head),
        }
        | more,
    )[0]


def form(message: Any) -> Form:
    body = memoryview(json.dumps(message).encode())
    return oip_json.decode_request(body, model="m", version="", header_length=None)[1]


def refusal(message: Any, tail: bytes | None = None, **more: Any) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        decode(message, tail, **more)
    assert len(refused.value.message) < 1000
    return refused.value.message


def x(datatype: str, shape: list[int], data: Any = None, **parameters: Any) -> dict[str, Any]:
    item: dict[str, Any] = {"name": "x", "datatype": datatype, "shape": shape}
    if data is not None:
        item["data"] = data
    if parameters:
        item["parameters"] = parameters
    return item


def one(item: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": [item]} | more


def answer(**outputs: Tensor) -> InferResponse:
    return InferResponse(model="m", version="3", id="", outputs=outputs)


PLAIN = one(x("INT32", [1], [1]))


# ------------------------------------------------------------------ JSON


@pytest.mark.parametrize("datatype", Datatype)
@pytest.mark.parametrize("nested", [False, True])
def test_every_datatype_reads_from_flat_and_from_nested_json(
    datatype: Datatype,
    nested: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Both forms that the protocol allows give the same tensor."""
    value = ONES[datatype]
    data = [[value, value], [value, value]] if nested else [value] * 4
    found = decode(one(x(datatype.name, [2, 2], data))).inputs["x"]
    assert found.datatype is datatype
    assert found.array.dtype == datatype.dtype
    assert found.shape == (2, 2)
    expected = value.encode() if isinstance(value, str) else value
    assert (found.array == expected).all()


def test_a_deeply_nested_tensor_keeps_its_order() -> None:
    """Row-major, at any depth."""
    array = np.arange(24, dtype=np.int64).reshape(2, 3, 4)
    found = decode(one(x("INT64", [2, 3, 4], array.tolist()))).inputs["x"]
    assert np.array_equal(found.array, array)


def test_a_scalar_is_a_list_of_one() -> None:
    """An empty shape has one element."""
    assert decode(one(x("FP32", [], [5]))).inputs["x"].array == 5


@pytest.mark.parametrize("datatype", Datatype)
@pytest.mark.parametrize(("shape", "data"), [([0], []), ([0, 3], []), ([2, 0], [[], []])])
def test_a_tensor_may_be_empty(datatype: Datatype, shape: list[int], data: Any) -> None:
    """Zero elements are a tensor too."""
    found = decode(one(x(datatype.name, shape, data))).inputs["x"]
    assert found.shape == tuple(shape)
    assert found.array.dtype == datatype.dtype


def test_a_whole_number_is_a_float_too() -> None:
    """JSON writes 1.0 as 1."""
    assert decode(one(x("FP32", [2], [1, 2.5]))).inputs["x"].array.tolist() == [1.0, 2.5]


@pytest.mark.parametrize("datatype", INTEGERS)
def test_a_whole_number_may_be_at_the_edge_of_its_range_and_not_beyond(datatype: Datatype) -> None:
    """The refusal names the number and the range."""
    info = np.iinfo(datatype.dtype)
    edges = [int(info.min), int(info.max)]
    assert decode(one(x(datatype.name, [2], edges))).inputs["x"].array.tolist() == edges
    for beyond in (edges[0] - 1, edges[1] + 1, 10**30):
        text = refusal(one(x(datatype.name, [2], [0, beyond])))
        assert f"{beyond} is outside {datatype.name}'s range {info.min} to {info.max}" in text


@pytest.mark.parametrize(
    ("datatype", "beyond"), [("FP16", 1e5), ("BF16", -1e39), ("FP32", 1e39), ("FP32", -1e300)]
)
def test_a_number_beyond_a_floats_range_is_refused_by_name(datatype: str, beyond: float) -> None:
    """It does not become an infinity in silence."""
    text = refusal(one(x(datatype, [2], [1.0, beyond])))
    assert f"{beyond!r} is beyond the range of {datatype}" in text


def test_a_number_beyond_every_float_is_refused() -> None:
    """1e400 is no FP64."""
    assert "out of range" in refusal(b'{"inputs":[{"name":"x","datatype":"FP64",'
                                     b'"shape":[1],"data":[1e400]}]}')  # fmt: skip


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("INT32", [1], [1.5]),
        ("INT32", [1], ["1"]),
        ("INT32", [1], [True]),
        ("BOOL", [1], [1]),
        ("FP32", [1], ["1"]),
        ("FP32", [1], [None]),
        ("BYTES", [1], [1]),
        ("FP32", [1], 1),
        ("FP32", [1], {"a": 1}),
        ("FP32", [1], [[1]]),
        ("FP32", [2, 1], [1, "a"]),
        ("FP32", [2, 1], [[1], ["a"]]),
        ("FP32", [2, 1], [[1], 1]),
    ],
)
def test_an_element_of_the_wrong_kind_is_refused_with_both_kinds(
    datatype: str, shape: list[int], data: Any
) -> None:
    """The input, what was expected, and what was there."""
    text = refusal(one(x(datatype, shape, data)))
    assert "'x'" in text
    assert "Expected `" in text


def test_a_wrong_element_of_flat_data_is_not_explained_as_bad_nesting() -> None:
    """Whoever sent a flat array reads which element was wrong."""
    text = refusal(one(x("FP32", [1, 3], [1, "a", 3])))
    assert "Expected `float`, got `str` - at `$[1]`" in text


@pytest.mark.parametrize(
    ("shape", "data", "count"), [([3], [1, 2], 2), ([2, 2], [1], 1), ([2, 1], [[1], [1], [1]], 3)]
)
def test_too_few_or_too_many_elements_are_refused_with_both_counts(
    shape: list[int], data: Any, count: int
) -> None:
    """What the shape takes, and what came."""
    text = refusal(one(x("INT32", shape, data)))
    assert f"shape {shape} takes {math.prod(shape)} elements, got {count}" in text


def test_ragged_rows_are_refused_with_their_axis() -> None:
    """Even where the elements add up."""
    text = refusal(one(x("INT32", [2, 2], [[1], [1, 1, 1]])))
    assert "a row of axis 1 is not 2 long" in text
    assert "[2, 2]" in text


@pytest.mark.parametrize("data", [b'["\xff"]', b'[["\xff"]]', b'["\xed\xa0\x80"]', b'["\\ud800"]'])
def test_text_that_is_not_utf8_is_refused(data: bytes) -> None:
    """Flat and nested alike, raw and escaped."""
    body = b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1,1],"data":' + data + b"}]}"
    assert "request" in refusal(body) or "'x'" in refusal(body)


@pytest.mark.parametrize("shape", [[-1], [2**31], [1.5], ["1"], [1] * 33, [True], None, 3, [[1]]])
def test_a_shape_that_is_none_is_refused(shape: Any) -> None:
    """Sizes are whole, from 0 to 2^31 - 1, and at most 32 of them."""
    text = refusal(one({"name": "x", "datatype": "FP32", "shape": shape, "data": []}))
    assert "inputs[0].shape" in text


def test_a_shape_that_promises_more_than_there_is_allocates_nothing() -> None:
    """The shape that kills tritonserver 24.10 is refused by its numbers."""
    text = refusal(one(x("FP32", [1_000_000_000, 2048], [1.0])))
    assert "takes 2048000000000 elements, got 1" in text


def test_an_unknown_datatype_is_refused() -> None:
    """With the known ones."""
    assert "'FLOAT'" in refusal(one(x("FLOAT", [1], [1])))


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `inputs`"),
        (b'{"inputs": 1}', "inputs"),
        (b'{"inputs": [1]}', "inputs[0]"),
        (b'{"inputs": [{"shape": [1], "datatype": "FP32"}]}', "`name`"),
        (b'{"inputs": [{"name": "", "shape": [1], "datatype": "FP32"}]}', "name"),
        (b'{"inputs": [{"name": "x", "datatype": "FP32"}]}', "`shape`"),
        (b'{"inputs": [{"name": "x", "shape": [1]}]}', "`datatype`"),
        (b'{"inputs": [], "id": 7}', "$.id"),
        (b'{"inputs": [], "parameters": []}', "$.parameters"),
        (b'{"inputs": [], "parameters": {"a": {}}}', "$.parameters"),
        (b'{"inputs": [], "outputs": {}}', "$.outputs"),
        (b'{"inputs": [], "id": "\xff"}', "utf-8"),
        (b'{"inputs": []} x', "trailing"),
        (b"\x80abc", "invalid"),
    ],
)
def test_json_that_is_no_request_is_refused_with_its_place(body: bytes, named: str) -> None:
    """Where the parser stopped, and what it expected there."""
    assert named in refusal(body)


def test_json_nested_without_end_is_refused() -> None:
    """Neither the request nor a tensor may exhaust the stack."""
    deep = b"[" * 100_000 + b"]" * 100_000
    assert "nested too deeply" in refusal(b'{"inputs": [], "other": ' + deep + b"}")
    tensor = b'{"name":"x","datatype":"FP32","shape":[1,1],"data":' + deep + b"}"
    assert "nested" in refusal(b'{"inputs":[' + tensor + b"]}")


def test_an_input_without_data_is_refused_with_the_two_ways_to_give_it() -> None:
    """Inline or binary."""
    text = refusal(one(x("FP32", [1])))
    assert "'x' has no data: 'data' or 'binary_data_size'" in text


def test_an_input_given_twice_is_refused() -> None:
    """By its name."""
    assert "'x' is given twice" in refusal({"inputs": [x("INT32", [1], [1])] * 2})


def test_an_output_named_twice_is_refused() -> None:
    """By its name."""
    assert "['y', 'y']" in refusal(PLAIN | {"outputs": [{"name": "y"}, {"name": "y"}]})


# ------------------------------------------------------------------ binary


@pytest.mark.parametrize("datatype", Datatype)
def test_every_datatype_reads_from_binary_data(datatype: Datatype) -> None:
    """The bytes behind the JSON are the tensor."""
    value = "é".encode() if datatype is Datatype.BYTES else ONES[datatype]
    array = np.empty((2, 1), datatype.dtype)
    array[:] = value
    blob = bytes(tensors.encode(Tensor(datatype, array)))
    found = decode(one(x(datatype.name, [2, 1], binary_data_size=len(blob))), blob).inputs["x"]
    assert np.array_equal(found.array, array)


def test_each_tensor_may_choose_its_own_form() -> None:
    """JSON and binary side by side; the binary ones in the order of the JSON."""
    inputs = [
        {"name": "a", "datatype": "UINT8", "shape": [2], "parameters": {"binary_data_size": 2}},
        {"name": "b", "datatype": "UINT8", "shape": [1], "data": [3]},
        {"name": "c", "datatype": "UINT8", "shape": [1], "parameters": {"binary_data_size": 1}},
    ]
    found = decode({"inputs": inputs}, b"\1\2\4").inputs
    assert {name: tensor.array.tolist() for name, tensor in found.items()} == {
        "a": [1, 2],
        "b": [3],
        "c": [4],
    }


@pytest.mark.parametrize("datatype", Datatype)
def test_binary_data_may_be_empty(datatype: Datatype) -> None:
    """A tensor of no elements has no bytes."""
    found = decode(one(x(datatype.name, [0, 3], binary_data_size=0)), b"").inputs["x"]
    assert found.shape == (0, 3)


def test_both_forms_at_once_are_refused() -> None:
    """One of them is expected."""
    text = refusal(one(x("UINT8", [1], [1], binary_data_size=1)), b"\1")
    assert "both 'data' and the parameter 'binary_data_size'" in text


def test_binary_data_shorter_than_it_says_is_refused_with_both_sizes() -> None:
    """What the input says, and what is left."""
    text = refusal(one(x("UINT8", [5], binary_data_size=5)), b"\1")
    assert "'binary_data_size' is 5, 1 bytes are left" in text


def test_binary_data_left_over_is_refused_with_its_count() -> None:
    """A client that forgot an input hears of it."""
    text = refusal(one(x("UINT8", [1], binary_data_size=1)), b"\1\2\3")
    assert "2 bytes follow the last binary tensor" in text
    assert "add up to 1" in text


def test_binary_data_that_does_not_fit_the_shape_is_refused() -> None:
    """By the tensor's own rules."""
    text = refusal(one(x("FP32", [2], binary_data_size=4)), b"\0\0\0\0")
    assert "shape [2] of FP32 takes 8 bytes, got 4" in text


@pytest.mark.parametrize("size", [-1, 1.5, "1", True, None])
def test_a_binary_size_that_is_no_size_is_refused(size: Any) -> None:
    """It is a whole number of at least 0."""
    text = refusal(one(x("UINT8", [1], binary_data_size=size)), b"\1")
    assert f"'binary_data_size' is {size!r}" in text
    assert "a whole number of at least 0 is expected" in text


@pytest.mark.parametrize("length", [-1, 1000])
def test_a_json_length_beyond_the_body_is_refused_with_both(length: int) -> None:
    """The header's number and the body's."""
    text = refusal(b"{}", header_length=length)
    assert f"Inference-Header-Content-Length is {length}, the body has 2 bytes" in text


def test_a_json_length_of_0_leaves_no_json() -> None:
    """Triton reads raw bytes so; here they are refused."""
    assert "JSON" in refusal(b"", b"\1\2")


# ------------------------------------------------------------------ the rest of a request


def test_the_names_of_the_path_and_the_id_of_the_body_arrive() -> None:
    """The model and version come from the path, the id from the JSON."""
    found = decode(PLAIN | {"id": "abc"}, model="digits", version="7")
    assert (found.model, found.version, found.id) == ("digits", "7", "abc")


def test_outputs_are_those_asked_for_in_their_order() -> None:
    """None named means all."""
    assert decode(PLAIN | {"outputs": [{"name": "z"}, {"name": "y"}]}).outputs == ("z", "y")
    assert decode(PLAIN).outputs == ()


def test_parameters_keep_their_kinds_and_the_reserved_ones_are_taken_out() -> None:
    """What the gateway itself heeds is not handed to the model; null is nothing."""
    given = {"a": True, "b": -1, "c": 0.5, "d": "s", "e": None}
    reserved = {"timeout": 5, "priority": 2, "binary_data_output": True}
    found = decode(PLAIN | {"parameters": given | reserved})
    assert found.parameters == {"a": True, "b": -1, "c": 0.5, "d": "s"}
    assert type(found.parameters["a"]) is bool
    assert found.priority == 2


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1])
def test_a_parameter_over_64_bits_is_refused(number: int) -> None:
    """No wire behind the gateway could carry it."""
    assert f"parameter 'a': {number}" in refusal(PLAIN | {"parameters": {"a": number}})


@pytest.mark.parametrize("key", ["timeout", "priority"])
@pytest.mark.parametrize("value", [-1, 1.5, "1", True])
def test_a_timeout_or_priority_that_is_none_is_refused(key: str, value: Any) -> None:
    """They are whole numbers of at least 0."""
    text = refusal(PLAIN | {"parameters": {key: value}})
    assert f"'{key}' is {value!r}" in text
    assert "whole number" in text


def test_a_timeout_counts_microseconds_from_now() -> None:
    """As Triton's does."""
    before = time.monotonic()
    found = decode(PLAIN | {"parameters": {"timeout": 1_500_000}})
    assert before + 1.5 <= found.deadline <= time.monotonic() + 1.5


def test_the_earlier_of_header_and_parameter_is_the_deadline() -> None:
    """Whichever of the two it is."""
    body = PLAIN | {"parameters": {"timeout": 2_000_000}}
    assert decode(body, timeout=1.0).deadline - time.monotonic() <= 1
    assert 1 < decode(body, timeout=3.0).deadline - time.monotonic() <= 2


@pytest.mark.parametrize("parameters", [{}, {"timeout": 0}])
def test_without_a_timeout_there_is_no_deadline(parameters: dict[str, int]) -> None:
    """0 is Triton's word for none."""
    assert decode(PLAIN | {"parameters": parameters}).deadline == math.inf


def test_an_enormous_timeout_is_a_finite_deadline() -> None:
    """Clocks do not overflow."""
    found = decode(PLAIN | {"parameters": {"timeout": (1 << 63) - 1}})
    assert math.isfinite(found.deadline)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (PLAIN | {"parameters": {"shared_memory_region": "r"}}, "the request"),
        (one(x("INT32", [1], [1], shared_memory_region="r")), "input 'x'"),
        (PLAIN | {"outputs": [{"name": "y", "parameters": {"classification": 3}}]}, "output 'y'"),
    ],
)
def test_an_extension_that_is_not_offered_is_refused_where_it_was_asked(
    body: Any, where: str
) -> None:
    """It is not ignored in silence, and told apart from what is wrong."""
    with pytest.raises(UnsupportedError, match=f"^{where}: .*not offered"):
        decode(body)


def test_the_form_of_outputs_is_as_asked_for_each_and_for_the_rest() -> None:
    """An output's own wish stands over the request's."""
    body = PLAIN | {
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "y"}, {"name": "z", "parameters": {"binary_data": False}}],
    }
    assert form(body) == Form({"y": True, "z": False}, default=True)
    assert form(PLAIN) == Form({}, default=False)


@pytest.mark.parametrize(
    "body",
    [
        PLAIN | {"parameters": {"binary_data_output": 1}},
        PLAIN | {"outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]},
    ],
)
def test_a_form_that_is_neither_true_nor_false_is_refused(body: Any) -> None:
    """By its parameter."""
    assert "true or false is expected" in refusal(body)


@given(st.binary(max_size=200), st.none() | st.integers(0, 200))
def test_any_body_is_a_request_or_a_refusal(body: bytes, length: int | None) -> None:
    """No bytes raise anything but InvalidRequestError."""
    try:
        oip_json.decode_request(memoryview(body), model="m", version="", header_length=length)
    except InvalidRequestError as refused:
        assert refused.message  # noqa: PT017 - either outcome is right


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(
    st.sampled_from([d.name for d in Datatype]),
    st.lists(st.integers(0, 3), max_size=3),
    st.lists(JSON_VALUES, max_size=4),
)
def test_any_data_is_a_tensor_or_a_refusal(datatype: str, shape: list[int], data: Any) -> None:
    """Whatever JSON stands where the elements belong."""
    try:
        found = decode(one(x(datatype, shape, data)))
    except InvalidRequestError:
        return
    assert found.inputs["x"].shape == tuple(shape)


# ------------------------------------------------------------------ responses


def test_an_answer_in_json_has_the_protocols_fields() -> None:
    """Names, version, and flat data."""
    response = InferResponse(
        model="m",
        version="3",
        id="abc",
        outputs={"y": Tensor(Datatype.INT32, np.array([[1, 2]], np.int32))},
        parameters={"p": True},
    )
    body, length = encoded(response, JSON)
    assert length is None
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "3",
        "id": "abc",
        "parameters": {"p": True},
        "outputs": [{"name": "y", "datatype": "INT32", "shape": [1, 2], "data": [1, 2]}],
    }


def test_an_answer_without_an_id_has_none() -> None:
    """Nor parameters."""
    body, _ = encoded(answer(), JSON)
    assert set(json.loads(body)) == {"model_name", "model_version", "outputs"}


def test_an_answer_may_mix_both_forms() -> None:
    """The length of the JSON tells where the binary outputs begin."""
    outputs = {
        name: Tensor(Datatype.UINT8, np.array(values, np.uint8))
        for name, values in {"a": [1, 2], "b": [3], "c": [4]}.items()
    }
    body, length = encoded(answer(**outputs), Form({"b": False}, default=True))
    assert length is not None
    found = json.loads(body[:length])["outputs"]
    assert [item.get("parameters") for item in found] == [
        {"binary_data_size": 2},
        None,
        {"binary_data_size": 1},
    ]
    assert found[1]["data"] == [3]
    assert body[length:] == b"\1\2\4"


def test_an_empty_binary_answer_still_tells_where_its_json_ends() -> None:
    """A client that asked for binary looks for the header."""
    empty = Tensor(Datatype.FP32, np.zeros((0, 3), np.float32))
    body, length = encoded(answer(y=empty), Form({}, default=True))
    assert length == len(body)


@pytest.mark.parametrize("datatype", FLOATS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_answer_that_json_cannot_express_is_refused_with_the_way_out(
    datatype: Datatype, value: float
) -> None:
    """Binary outputs can; the refusal says so."""
    tensor = Tensor(datatype, np.array([1, value]).astype(datatype.dtype))
    with pytest.raises(InvalidRequestError, match=r"'y' holds NaN or infinity.*'binary_data'"):
        encoded(answer(y=tensor), JSON)
    body, length = encoded(answer(y=tensor), Form({"y": True}, default=False))
    assert body[length:] == tensors.encode(tensor)


def test_an_answer_of_bytes_that_are_no_text_is_refused_with_the_way_out() -> None:
    """JSON knows text alone."""
    tensor = Tensor(Datatype.BYTES, np.array([b"\xff"], np.object_))
    with pytest.raises(InvalidRequestError, match=r"'y' is not UTF-8 text.*'binary_data'"):
        encoded(answer(y=tensor), JSON)


@st.composite
def json_tensor(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from(Datatype))
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
    count = math.prod(shape)
    array = np.empty(count, datatype.dtype)
    if datatype is Datatype.BYTES:
        text = st.text(max_size=8).map(str.encode)
        array[:] = draw(st.lists(text, min_size=count, max_size=count))
    elif datatype is Datatype.BOOL:
        array[:] = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    elif datatype.is_float:
        bits = {Datatype.FP64: 64, Datatype.FP32: 32}.get(datatype, 16)
        number = st.floats(width=bits, allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]  # 16, 32 or 64
        array[:] = draw(st.lists(number, min_size=count, max_size=count))
    else:
        info = np.iinfo(datatype.dtype)
        number_ = st.integers(int(info.min), int(info.max))
        array[:] = draw(st.lists(number_, min_size=count, max_size=count))
    return Tensor(datatype, array.reshape(shape))


@given(st.lists(st.tuples(json_tensor(), st.booleans()), max_size=3))
def test_what_was_encoded_decodes_to_itself(given_tensors: list[tuple[Tensor, bool]]) -> None:
    """Every datatype and shape, each tensor in JSON or binary: an answer reads back as a request.

    JSON writes the shortest number that reads back as the same float, so nothing is lost.
    """
    sent = {f"t{i}": tensor for i, (tensor, _) in enumerate(given_tensors)}
    chosen = Form({f"t{i}": b for i, (_, b) in enumerate(given_tensors)}, default=False)
    body, length = encoded(answer(**sent), chosen)
    message = msgspec.json.decode(body if length is None else body[:length])
    head = msgspec.json.encode({"inputs": message["outputs"]})
    tail = None if length is None else body[length:]
    found = decode(head, tail).inputs
    assert list(found) == list(sent)
    for name, tensor in sent.items():
        assert found[name].datatype is tensor.datatype
        assert found[name].shape == tensor.shape
        assert bytes(tensors.encode(found[name])) == bytes(tensors.encode(tensor))


# ------------------------------------------------------------------ JSON that comes again


def again(json: bytes, tail: bytes = b"\0" * 4) -> InferRequest:
    """A request of that JSON and one FP32 behind it."""
    request, _ = oip_json.decode_request(
        memoryview(json + tail), model="m", version="", header_length=len(json)
    )
    return request


def binary(more: str) -> bytes:
    """The JSON of one binary input, with something before it."""
    x = '{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}'
    return f'{{{more}"inputs":[{x}]}}'.encode()


def test_the_same_json_with_other_tensors_is_another_request() -> None:
    """What is remembered is the layout."""
    for number in (1.0, 2.0):
        found = again(binary(""), np.float32(number).tobytes())
        assert found.inputs["x"].array.tolist() == [number]
        assert found.id == ""


@pytest.mark.parametrize(
    "ids", [("a", "b"), ("a", "a"), ("a", ""), ("", "a"), ("é", "a"), ("a", "{")]
)
def test_ids_are_never_mixed_up(ids: tuple[str, ...]) -> None:
    """JSON that differs in its id alone is remembered once."""
    for identity in ids * 2:
        assert again(binary(f'"id":"{identity}",')).id == identity


@pytest.mark.parametrize(
    ("more", "identity"),
    [
        ('"parameters":{"id":"p"},', ""),
        ('"parameters":{"id":"p"},"id":"q",', "q"),
        ('"id":"a\\u0062",', "ab"),
        ('"id" : "a",', "a"),
        ('"id":"a","\\u0069d":"r",', "r"),
        ('"id":"r","\\u0069d":"r",', "r"),
        ('"id":"a","id":"b",', "b"),
        ('"unknown":{"id":"p"},', ""),
        ('"unknown":"\\"id\\":\\"p",', ""),
    ],
)
def test_an_id_is_what_the_json_says_it_is(more: str, identity: str) -> None:
    """However it looks, and whoever sent something like it before."""
    for _ in range(2):
        for other in ('"id":"x",', '"parameters":{"id":"r"},'):
            again(binary(other))
        found = again(binary(more))
        assert found.id == identity
        if "parameters" in more:
            assert found.parameters == {"id": "p"}


def test_what_is_remembered_is_bounded() -> None:
    """Strangers may send what they like."""
    for number in range(3000):
        again(binary(f'"parameters":{{"k":{number}}},'))
    assert len(oip_json._layouts) <= 1024


def test_a_remembered_json_is_held_against_its_tensors_each_time() -> None:
    """A body that is too short or too long is refused, whatever came before."""
    json = binary('"parameters":{"seen":true},')
    again(json)
    for tail in (b"", b"\0" * 3, b"\0" * 5):
        with pytest.raises(InvalidRequestError, match="binary_data_size"):
            again(json, tail)
