"""Everything wrong once: each refusal names what was wrong, and what would be right."""

from __future__ import annotations

import json
import zlib
from typing import Any

import httpx
import numpy as np
import pytest

from tests.protocol.clients import Ask, Client, RefusedError

ROW = np.array([[1, 2, 3]], np.float32)
Json = dict[str, Any]

# model, inputs, more of the request, the kind of refusal, and what its text must say.
ASKED_WRONG: dict[str, tuple[Ask, str, str]] = {
    "unknown model": (
        Ask(model="nobody", inputs={"x": ROW}),
        "NOT_FOUND",
        "no model 'nobody' is known here",
    ),
    "unknown alias": (
        Ask(model="rows@champion", inputs={"x": ROW}),
        "NOT_FOUND",
        "model 'rows' has no alias 'champion'",
    ),
    "unknown version": (
        Ask(model="versioned", version="7", inputs={"x": ROW}),
        "NOT_FOUND",
        "model 'versioned' has no version '7' ready: there is 1, 2",
    ),
    "a version that is no number": (
        Ask(model="versioned", version="latest", inputs={"x": ROW}),
        "INVALID_ARGUMENT",
        "version 'latest' of model 'versioned': a whole number is expected",
    ),
    "unknown input": (
        Ask(model="rows", inputs={"z": ROW}),
        "INVALID_ARGUMENT",
        "model 'rows' has no input 'z': it takes 'x'",
    ),
    "missing input": (
        Ask(model="greeting", inputs={"name": np.array([["Ada"]], object)}),
        "INVALID_ARGUMENT",
        "model 'greeting' needs input 'loud' (BOOL [-1, 1]), which the request lacks",
    ),
    "unknown output": (
        Ask(model="sums", inputs={"x": ROW}, outputs=["triple"]),
        "INVALID_ARGUMENT",
        "model 'sums' has no output 'triple': it gives 'double', 'total'",
    ),
    "another datatype": (
        Ask(model="rows", inputs={"x": ROW.astype(np.int32)}),
        "INVALID_ARGUMENT",
        "input 'x' of model 'rows' is FP32, got INT32",
    ),
    "another shape": (
        Ask(model="rows", inputs={"x": ROW[:, :2]}),
        "INVALID_ARGUMENT",
        "input 'x' of model 'rows' has shape [-1, 3] (-1: any size), got [1, 2]",
    ),
    "no batch axis": (
        Ask(model="rows", inputs={"x": ROW[0]}),
        "INVALID_ARGUMENT",
        "input 'x' of model 'rows' has shape [-1, 3] (-1: any size), got [3]",
    ),
    "too many rows": (
        Ask(model="rows", inputs={"x": np.repeat(ROW, 9, 0)}),
        "INVALID_ARGUMENT",
        "model 'rows' takes 1 to 8 rows a request, got 9",
    ),
    "no rows at all": (
        Ask(model="rows", inputs={"x": ROW[:0]}),
        "INVALID_ARGUMENT",
        "model 'rows' takes 1 to 8 rows a request, got 0",
    ),
    "inputs of different rows": (
        Ask(
            model="greeting",
            inputs={
                "name": np.array([["Ada"]], object),
                "loud": np.array([[True], [False]]),
            },
        ),
        "INVALID_ARGUMENT",
        "the inputs disagree on the number of rows: {'name': 1, 'loud': 2}",
    ),
    "a negative timeout": (
        Ask(model="rows", inputs={"x": ROW}, timeout_us=-1),
        "INVALID_ARGUMENT",
        "parameter 'timeout' is -1: a whole number of at least 0 is expected",
    ),
}


@pytest.mark.parametrize("case", ASKED_WRONG)
def test_a_wrong_request_is_refused_with_its_reason(client: Client, case: str) -> None:
    """What tritonclient lets through, the gateway looks at, before anything is queued."""
    ask, kind, reason = ASKED_WRONG[case]
    with pytest.raises(RefusedError) as refused:
        client.infer(ask)
    assert refused.value.kind == kind
    assert reason in refused.value.reason


def _request(**changes: Any) -> Json:
    """A right request for `rows`, with `changes`; a value of None takes the key out."""
    right: Json = {
        "inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]
    }
    for key, value in changes.items():
        place = right["inputs"][0] if key in ("name", "shape", "datatype", "data") else right
        place[key] = value
        if value is None:
            del place[key]
    return right


SAID_WRONG: dict[str, tuple[Json, str]] = {
    "no inputs": (_request(inputs=None), "missing required field `inputs`"),
    "inputs are no array": (_request(inputs={}), "Expected `array`, got `object`"),
    "no name": (_request(name=None), "missing required field `name`"),
    "no shape": (_request(shape=None), "missing required field `shape`"),
    "no datatype": (_request(datatype=None), "missing required field `datatype`"),
    "no data": (_request(data=None), "input 'x' has no data: 'data' or 'binary_data_size'"),
    "a datatype that is none": (
        _request(datatype="FLOAT"),
        "unknown datatype 'FLOAT': one of BOOL, UINT8",
    ),
    "a negative size": (_request(shape=[-1, 3]), "Expected `int` >= 0"),
    "a size that is no number": (_request(shape=["1", 3]), "Expected `int`, got `str`"),
    "a size of a fraction": (_request(shape=[1.5, 3]), "Expected `int`"),
    "a shape for a billion": (_request(shape=[10**9, 3]), "takes 3000000000 elements, got 3"),
    "a shape beyond all numbers": (_request(shape=[10**12, 3]), "Expected `int` <= 2147483647"),
    "too many axes": (_request(shape=[1] * 40), "Expected `array` of length <= 32"),
    "too few elements": (_request(data=[1, 2]), "shape [1, 3] takes 3 elements, got 2"),
    "too many elements": (_request(data=[1] * 4), "shape [1, 3] takes 3 elements, got 4"),
    "text for numbers": (_request(data=["1", "2", "3"]), "Expected `float`, got `str`"),
    "ragged rows": (_request(data=[[1, 2, 3], [4]]), "a row of axis 1 is not 3 long"),
    "null for a number": (_request(data=[1, None, 3]), "Expected `float`, got `null`"),
    "a number beyond FP32": (_request(data=[1, 1e300, 3]), "1e+300 is beyond the range of FP32"),
    "an input given twice": (
        _request(inputs=_request()["inputs"] * 2),
        "input 'x' is given twice",
    ),
    "an output named twice": (
        _request(outputs=[{"name": "y"}, {"name": "y"}]),
        "outputs are named twice: ['y', 'y']",
    ),
    "shared memory": (
        _request(
            inputs=[
                _request()["inputs"][0] | {"parameters": {"shared_memory_region": "r"}},
            ]
        ),
        "shared memory between client and gateway is not offered here",
    ),
    "the classification extension": (
        _request(outputs=[{"name": "y", "parameters": {"classification": 2}}]),
        "the classification extension is not offered here",
    ),
    "an id that is no text": (_request(id=7), "Expected `str`, got `int` - at `$.id`"),
    "parameters that nest": (_request(parameters={"a": {"b": 1}}), "got `object`"),
    "a parameter of 65 bits": (_request(parameters={"a": 1 << 64}), "takes more than 64 bits"),
    "a priority below 0": (_request(parameters={"priority": -1}), "at least 0 is expected"),
    "data and its size at once": (
        _request(
            inputs=[_request()["inputs"][0] | {"parameters": {"binary_data_size": 12}}],
        ),
        "input 'x' has both 'data' and the parameter 'binary_data_size'",
    ),
}


@pytest.mark.parametrize("case", SAID_WRONG)
def test_wrong_json_is_refused_with_its_reason(http: httpx.Client, case: str) -> None:
    """400, and where in the request it was; 501 for what is not offered."""
    request, reason = SAID_WRONG[case]
    answer = http.post("/v2/models/rows/infer", json=request)
    assert answer.status_code == (501 if "not offered" in reason else 400)
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("engine", ["echo"])
@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"", {}, "the body is empty"),
        (b"{", {}, "the request's JSON: "),
        (b"\xff\xfe", {}, "the request's JSON: "),
        (b"[]", {}, "Expected `object`, got `array`"),
        (b'{"inputs": ' + b"[" * 5000, {}, "the request's JSON: "),
        (b"{}", {"Inference-Header-Content-Length": "3"}, "is 3, the body has 2 bytes"),
        (b"{}", {"Inference-Header-Content-Length": "-1"}, "'-1': a whole number is expected"),
        (b"{}", {"X-Request-Timeout-Ms": "soon"}, "'soon': milliseconds above 0"),
        (b"{}", {"X-Request-Timeout-Ms": "nan"}, "'nan': milliseconds above 0"),
        (b"{}", {"Content-Encoding": "br"}, "'br' is not known: gzip or deflate is expected"),
        (b"{}", {"Content-Encoding": "gzip"}, "the compressed body is broken"),
        (zlib.compress(b"{}")[:-2], {"Content-Encoding": "deflate"}, "ends too early"),
        (zlib.compress(b"{}") + b"!", {"Content-Encoding": "deflate"}, "more follows its end"),
    ],
)
def test_a_broken_body_is_refused_with_its_reason(
    http: httpx.Client, body: bytes, headers: dict[str, str], reason: str
) -> None:
    """Bytes that are no request, and headers that lie about them."""
    answer = http.post("/v2/models/rows/infer", content=body, headers=headers)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("engine", ["echo"])
@pytest.mark.parametrize(
    ("size", "tail", "reason"),
    [
        (12, b"\0" * 11, "'binary_data_size' is 12, 11 bytes are left in the body"),
        (12, b"\0" * 13, "1 bytes follow the last binary tensor"),
        (11, b"\0" * 11, "shape [1, 3] of FP32 takes 12 bytes, got 11"),
        (-1, b"", "parameter 'binary_data_size' is -1"),
        (True, b"", "parameter 'binary_data_size' is True"),
        ("12", b"\0" * 12, "parameter 'binary_data_size' is '12'"),
    ],
)
def test_binary_data_of_another_length_is_refused(
    http: httpx.Client, size: object, tail: bytes, reason: str
) -> None:
    """The JSON's sizes and the bytes behind it must agree."""
    item = _request(data=None)["inputs"][0] | {"parameters": {"binary_data_size": size}}
    header = json.dumps({"inputs": [item]}).encode()
    answer = http.post(
        "/v2/models/rows/infer",
        content=header + tail,
        headers={"Inference-Header-Content-Length": str(len(header))},
    )
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("engine", ["echo"])
def test_what_json_cannot_express_is_refused_as_json(http: httpx.Client) -> None:
    """NaN came in as binary data; as JSON it cannot go out, and the answer says what can."""
    item = _request(data=None)["inputs"][0] | {"parameters": {"binary_data_size": 12}}
    header = json.dumps({"inputs": [item]}).encode()
    answer = http.post(
        "/v2/models/rows/infer",
        content=header + np.array([1, np.nan, 3], np.float32).tobytes(),
        headers={"Inference-Header-Content-Length": str(len(header))},
    )
    assert answer.status_code == 400
    assert "output 'y' holds NaN or infinity" in answer.json()["error"]
    assert "'binary_data': true" in answer.json()["error"]
