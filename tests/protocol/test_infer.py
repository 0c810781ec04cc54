"""Inference in every form that the wire has."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.protocol.clients import Array, Ask, Client, Http
from tests.protocol.repository import DATATYPES
from tests.serving import serving, settings

ROWS = np.array([[1, 2, 3], [4.5, -5, 6e30]], np.float32)

_EDGES: dict[str, list[object]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [-65504, 0.1],
    "FP32": [-3.4e38, 0.1],
    "FP64": [-1.7e308, 0.1],
    "BYTES": [b"", "grün, 日本".encode()],
}


def _array(datatype: str, shape: tuple[int, int]) -> Array:
    word = DATATYPES[datatype][1].replace("double", "float64")
    dtype = {"string": "object", "float": "float32"}.get(word, word)
    return np.array(_EDGES[datatype], dtype).repeat(3).reshape(2, 3)[: shape[0], : shape[1]]


def _every_type(shape: tuple[int, int]) -> dict[str, Array]:
    return {f"in_{datatype}": _array(datatype, shape) for datatype in DATATYPES}


@pytest.mark.parametrize("form", ["binary", "json"])
def test_an_input_comes_back_as_it_went(client: Client, form: str) -> None:
    """Two rows in, the same two rows out, with names, shape and version."""
    names = frozenset({"x", "y"}) if form == "json" else frozenset()
    answer = client.infer(Ask(model="rows", inputs={"x": ROWS}, outputs=["y"], as_json=names))
    np.testing.assert_array_equal(answer.tensors["y"], ROWS)
    assert answer.message["model_name"] == "rows"
    assert answer.message["model_version"] == "1"
    assert answer.message["outputs"][0]["shape"] == [2, 3]


@pytest.mark.parametrize("shape", [(2, 3), (1, 1), (0, 3), (2, 0)], ids=str)
def test_every_datatype_survives_as_binary_data(client: Client, shape: tuple[int, int]) -> None:
    """The edges of each range come back to the last bit, and nothing at all as nothing."""
    inputs = _every_type(shape)
    answer = client.infer(Ask(model="every_type", inputs=inputs))
    for datatype in DATATYPES:
        found = answer.tensors[f"out_{datatype}"]
        np.testing.assert_array_equal(found, inputs[f"in_{datatype}"])
        assert found.shape == shape


@pytest.mark.parametrize("shape", [(2, 3), (0, 3)], ids=str)
def test_every_datatype_survives_as_json(client: Client, shape: tuple[int, int]) -> None:
    """The same without binary data: each number is exact, each text whole."""
    inputs = _every_type(shape)
    outputs = [f"out_{datatype}" for datatype in DATATYPES]
    answer = client.infer(
        Ask(
            model="every_type",
            inputs=inputs,
            outputs=outputs,
            as_json=frozenset({*inputs, *outputs}),
        )
    )
    for datatype in DATATYPES:
        found, given = answer.tensors[f"out_{datatype}"], inputs[f"in_{datatype}"]
        if datatype == "BYTES" and client.wire == "http":  # JSON's texts are Python's
            given = np.array([text.decode() for text in given.flat], object).reshape(shape)
        np.testing.assert_array_equal(found, given)


def test_json_and_binary_mix_tensor_by_tensor(client: Client) -> None:
    """One input as JSON beside a binary one, one output binary beside one as JSON."""
    answer = client.infer(
        Ask(
            model="greeting",
            inputs={"name": np.array([["Ada"]], object), "loud": np.array([[False]])},
            outputs=["text", "quiet"],
            as_json=frozenset({"name", "quiet"}),
        )
    )
    assert answer.tensors["text"].tolist() == [[b"Ada"]]
    assert answer.tensors["quiet"].shape == (1, 1)


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_request_and_response_may_be_compressed(client: Client, compression: str) -> None:
    """Both directions, with a body that is worth it."""
    inputs = {"in_FP32": np.arange(3000, dtype=np.float32).reshape(3, 1000)} | {
        name: array for name, array in _every_type((1, 1)).items() if name != "in_FP32"
    }
    answer = client.infer(Ask(model="every_type", inputs=inputs, compression=compression))
    np.testing.assert_array_equal(answer.tensors["out_FP32"], inputs["in_FP32"])


def test_an_answer_has_the_outputs_asked_for_in_that_order(client: Client) -> None:
    """Named outputs come in the order of the request; without names come all."""
    inputs = {"x": ROWS}
    swapped = client.infer(Ask(model="sums", inputs=inputs, outputs=["total", "double"]))
    assert [output["name"] for output in swapped.message["outputs"]] == ["total", "double"]
    one = client.infer(Ask(model="sums", inputs=inputs, outputs=["total"]))
    assert list(one.tensors) == ["total"]
    every = client.infer(Ask(model="sums", inputs=inputs))
    assert set(every.tensors) == {"double", "total"}


def test_the_id_comes_back(client: Client) -> None:
    """A request's id is its answer's."""
    answer = client.infer(Ask(model="rows", inputs={"x": ROWS}, id="order-4711 ü"))
    assert answer.message["id"] == "order-4711 ü"


def test_parameters_and_priority_are_taken(client: Client) -> None:
    """A request may carry parameters of every kind, and Triton's priority."""
    parameters = {"tenant": "a", "attempt": 2, "share": 0.5, "dry": True}
    ask = Ask(model="rows", inputs={"x": ROWS}, parameters=parameters, priority=1)
    np.testing.assert_array_equal(client.infer(ask).tensors["y"], ROWS)


def test_a_name_stands_for_the_highest_version(client: Client) -> None:
    """Without aliases the highest READY version answers, and says which it is."""
    assert client.infer(Ask(model="versioned", inputs={"x": ROWS})).message["model_version"] == "2"


@pytest.mark.parametrize("engine", ["onnx", pytest.param("triton", marks=pytest.mark.triton)])
def test_a_version_in_the_path_pins_it(client: Client) -> None:
    """Version 1 gives the input back, version 2 doubles it."""
    for version, factor in (("1", 1), ("2", 2)):
        answer = client.infer(Ask(model="versioned", inputs={"x": ROWS}, version=version))
        np.testing.assert_array_equal(answer.tensors["y"], ROWS * factor)
        assert answer.message["model_version"] == version


@pytest.mark.parametrize("engine", ["onnx", pytest.param("triton", marks=pytest.mark.triton)])
def test_an_optional_input_may_be_left_out(client: Client) -> None:
    """The graph's own default takes its place."""
    x = np.array([10, 10, 10], np.float32)
    without = client.infer(Ask(model="bias", inputs={"x": x}))
    np.testing.assert_array_equal(without.tensors["y"], [11, 12, 13])
    with_it = client.infer(Ask(model="bias", inputs={"x": x, "bias": x}))
    np.testing.assert_array_equal(with_it.tensors["y"], [20, 20, 20])


def test_bf16_passes_where_the_engine_has_it(tmp_path: Path) -> None:
    """ONNX backends have no BF16; `echo` shows that the wire carries it."""
    folder = tmp_path / "models" / "brain"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(
        'input { name: "x" data_type: TYPE_BF16 dims: -1 }'
        'output { name: "y" data_type: TYPE_BF16 dims: -1 }'
    )
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    x = np.array([1.5, -2, 3e38, np.inf], ml_dtypes.bfloat16)
    with serving(settings(tmp_path / "models"), run_dir) as gateway:
        client = Http(gateway.address)
        try:
            answer = client.infer(Ask(model="brain", inputs={"x": x}))
        finally:
            client.close()
    assert answer.message["outputs"][0]["datatype"] == "BF16"
    np.testing.assert_array_equal(np.asarray(answer.tensors["y"], np.float32), x.astype(np.float32))
