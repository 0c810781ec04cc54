"""The Python `onnxruntime` backend in a real tritonserver, held beside the rules of completion."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as triton
from google.protobuf import json_format, text_format
from onnx import TensorProto
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from service.repository.completion import Graph, GraphTensor, complete
from tests import graphs
from tests.completion_cases import CASES, Case
from tests.triton_server import RunningTriton, running_triton

pytestmark = pytest.mark.triton

_ONE = {"instance_group": [{"kind": "KIND_CPU", "count": 1}]}
_SLOW_QUEUE = {"max_queue_delay_microseconds": 200_000}

# Models for what happens after the load; what they leave out is completed.
_MODELS: Mapping[str, tuple[bytes, Mapping[str, Any]]] = {
    "sums": (graphs.sum_and_double(), {"max_batch_size": 64, "dynamic_batching": _SLOW_QUEUE}),
    "lookups": (graphs.lookup(), {"max_batch_size": 64, "dynamic_batching": _SLOW_QUEUE}),
    "greetings": (graphs.greeting(), {"max_batch_size": 8}),
    "totals": (graphs.column_totals(), {}),
    "scalar": (graphs.identity(dims=()), {}),
    "bias": (
        graphs.with_default_bias(),
        {
            "input": [
                {"name": "x", "data_type": "TYPE_FP32", "dims": [3]},
                {"name": "bias", "data_type": "TYPE_FP32", "dims": [3], "optional": True},
            ]
        },
    ),
    "tuned": (
        graphs.identity(),
        {
            "optimization": {"graph": {"level": 2}},
            "parameters": {
                name: {"string_value": value}
                for name, value in {
                    "intra_op_thread_count": "2",
                    "inter_op_thread_count": "2",
                    "execution_mode": "1",
                    "enable_mem_arena": "false",
                    "enable_mem_pattern": "0",
                    "session.use_device_allocator_for_initializers": "1",
                }.items()
            },
        },
    ),
    "shrinking": (
        graphs.identity(),
        {"parameters": {"memory.enable_memory_arena_shrinkage": {"string_value": "cpu:0"}}},
    ),
    "bad_threads": (
        graphs.identity(),
        {"parameters": {"intra_op_thread_count": {"string_value": "many"}}},
    ),
    "bad_mode": (graphs.identity(), {"parameters": {"execution_mode": {"string_value": "7"}}}),
    "bad_file": (b"this is no model", {}),
    "no_file": (graphs.identity(), {"default_model_filename": "other.onnx"}),
    "outside": (graphs.identity(), {"default_model_filename": "../1/model.onnx"}),
}


def _write(repository: Path, name: str, model: bytes, config: Mapping[str, Any] | None) -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(model)
    if config is not None:
        message = json_format.ParseDict(
            {"backend": "onnxruntime", **_ONE, **config}, model_config_pb2.ModelConfig()
        )
        (repository / name / "config.pbtxt").write_text(text_format.MessageToString(message))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    """One server for all: the models that serve are loaded at start, many at a time."""
    repository = tmp_path_factory.mktemp("repository")
    for case in CASES:
        _write(repository, case.name, case.model, case.config)
    for name, (model, config) in _MODELS.items():
        _write(repository, name, model, config)
    scratch = tmp_path_factory.mktemp("server")
    with running_triton(repository, scratch=scratch, load_models=["*"]) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningTriton) -> Iterator[Any]:
    """A gRPC client of the server."""
    with triton.InferenceServerClient(server.grpc) as connected:
        yield connected


def _reason(client: Any, name: str) -> str:
    """Why a model is not served, in the repository index's words."""
    index = client.get_model_repository_index(as_json=True)["models"]
    found = next(entry for entry in index if entry["name"] == name)
    assert found["state"] == "UNAVAILABLE"
    reason: str = found["reason"]
    return reason


def _infer(client: Any, model: str, outputs: tuple[str, ...] = (), **inputs: Any) -> Any:
    """One inference; the datatype of an input is its array's."""
    asked = []
    for name, array in inputs.items():
        tensor = triton.InferInput(name, list(array.shape), _DATATYPES[array.dtype])
        tensor.set_data_from_numpy(array)
        asked.append(tensor)
    wanted = [triton.InferRequestedOutput(name) for name in outputs] or None
    return client.infer(model, asked, outputs=wanted, client_timeout=60)


_DATATYPES = {
    np.dtype(np.object_): "BYTES",
    np.dtype(np.bool_): "BOOL",
    np.dtype(np.float16): "FP16",
    np.dtype(np.float32): "FP32",
    np.dtype(np.float64): "FP64",
    **{np.dtype(f"int{bits}"): f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{np.dtype(f"uint{bits}"): f"UINT{bits}" for bits in (8, 16, 32, 64)},
}


def _graph_of(model: bytes) -> Graph:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def tensors(arguments: list[Any]) -> list[GraphTensor]:
        return [GraphTensor(a.name, a.type, tuple(a.shape)) for a in arguments]

    return Graph(
        inputs=tensors(session.get_inputs()),
        outputs=tensors(session.get_outputs()),
        initializers=tensors(session.get_overridable_initializers()),
    )


def _io_of(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What counts of a configuration's inputs or outputs, by name."""
    return {
        entry["name"]: (
            entry["data_type"],
            [int(dim) for dim in entry["dims"]],
            entry.get("reshape", {}).get("shape", []) if "reshape" in entry else None,
            entry.get("optional", False),
        )
        for entry in config.get(kind, ())
    }


@pytest.mark.parametrize("case", [c for c in CASES if not c.error], ids=lambda c: c.name)
def test_triton_reports_what_the_rules_say(client: Any, case: Case) -> None:
    """Triton's configuration, the pure completion and the expectation are the same, thrice."""
    reported = client.get_model_config(case.name, as_json=True)["config"]
    completed = complete(case.config or {}, _graph_of(case.model))
    expected = {"input": case.input, "output": case.output}
    for kind in ("input", "output"):
        assert _io_of(reported, kind) == _io_of(completed, kind) == _io_of(expected, kind)
    sizes = [int(config.get("max_batch_size", 0)) for config in (reported, completed)]
    assert sizes == [case.max_batch_size] * 2
    batching = ["dynamic_batching" in config for config in (reported, completed)]
    assert batching == [case.dynamic_batching] * 2


@pytest.mark.parametrize("case", [c for c in CASES if c.error], ids=lambda c: c.name)
def test_triton_refuses_what_the_rules_refuse(client: Any, case: Case) -> None:
    """A contradiction keeps the model from loading, and the index says it in our words."""
    reason = _reason(client, case.name)
    assert case.error in reason
    assert repr(case.name) in reason


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_table_describes_its_graphs(case: Case) -> None:
    """The table's words about a graph are what ONNX Runtime reads out of it."""
    found = _graph_of(case.model)
    for kind in ("inputs", "outputs", "initializers"):
        described = [(t.name, t.type, t.dims) for t in getattr(case.graph, kind)]
        assert [(t.name, t.type, t.dims) for t in getattr(found, kind)] == described


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("bad_threads", "parameter intra_op_thread_count is 'many': a whole number is expected"),
        ("bad_mode", "execution_mode is 7: 0 (sequential) or 1 (parallel) is expected"),
        ("bad_file", "ONNX Runtime cannot open 1/model.onnx"),
        ("no_file", "there is no model file no_file/1/other.onnx"),
        ("outside", "leads out of the version's folder"),
    ],
)
def test_a_model_that_cannot_load_says_why(client: Any, model: str, said: str) -> None:
    """Bad parameters and files are named in the repository index."""
    assert said in _reason(client, model)


@pytest.mark.parametrize(
    "dtype", [d for d in _DATATYPES if d.kind in "biuf" and d != np.dtype(np.float32)], ids=str
)
def test_every_datatype_comes_back(client: Any, dtype: np.dtype[Any]) -> None:
    """Outputs have the size and the values they should: under NumPy 2 they would be empty."""
    name = f"type_{_DATATYPES[dtype].lower()}"
    x = np.array([[0, 1], [1, 100]], dtype)
    y = _infer(client, name, x=x).as_numpy("y")
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, x)


def test_bytes_and_bools(client: Any) -> None:
    """Strings travel as UTF-8 bytes, an empty one included; booleans are one byte each."""
    names = np.array([["Ada"], [""], ["Zoë"]], np.object_)
    loud = np.array([[True], [False], [True]])
    result = _infer(client, "greetings", name=names, loud=loud)
    assert result.as_numpy("text").tolist() == [[b"Ada"], [b""], ["Zoë".encode()]]
    assert result.as_numpy("quiet").tolist() == [[False], [True], [False]]


def test_bytes_that_are_no_text(client: Any) -> None:
    """ONNX Runtime's Python strings are UTF-8; anything else is refused by element and input."""
    names = np.array([[b"fine"], [b"\xff\xfe"]], np.object_)
    with pytest.raises(InferenceServerException) as refused:
        _infer(client, "greetings", name=names, loud=np.zeros((2, 1), np.bool_))
    assert "element 1 of input 'name' is not UTF-8" in str(refused.value)
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_only_what_was_asked_for(client: Any) -> None:
    """A request that names one output gets that one."""
    result = _infer(client, "sums", ("total",), x=np.ones((2, 3), np.float32))
    assert [output.name for output in result.get_response().outputs] == ["total"]
    assert result.as_numpy("total").tolist() == [[3.0], [3.0]]


def test_requests_are_merged_into_one_run(client: Any) -> None:
    """Requests that wait together run together, each gets its own rows, and Triton counts so."""
    before = _statistics(client, "sums")

    def ask(i: int) -> tuple[Any, Any]:
        x = np.full((1 + i % 3, 3), i, np.float32)
        outputs = ("total",) if i % 2 else ("total", "double")
        result = _infer(client, "sums", outputs, x=x)
        return result.as_numpy("total"), result.as_numpy("double")

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(24)))
    for i, (total, double) in enumerate(answers):
        assert total.tolist() == [[3.0 * i]] * (1 + i % 3)
        if i % 2:
            assert double is None
        else:
            assert double.tolist() == [[2.0 * i] * 3] * (1 + i % 3)
    after = _statistics(client, "sums")
    rows = after[0] - before[0]
    runs = after[1] - before[1]
    assert rows == sum(1 + i % 3 for i in range(24))
    assert runs < 12


def test_a_bad_request_harms_no_stranger(client: Any) -> None:
    """When a merged run fails, its members run apart: only the one at fault gets an error."""
    before = _statistics(client, "lookups")

    def ask(i: int) -> str | float:
        index = np.array([[99 if i == 5 else i % 4]], np.int64)
        try:
            value: float = _infer(client, "lookups", index=index).as_numpy("value").item()
        except InferenceServerException as error:
            return str(error)
        return value

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    assert "ONNX Runtime failed on this request" in str(answers.pop(5))
    assert answers == [10.0 * (i % 4) for i in range(16) if i != 5]
    assert _statistics(client, "lookups")[1] - before[1] < 16


def test_an_optional_input(client: Any) -> None:
    """An input with a default in the graph may be left out, or fed."""
    x = np.zeros(3, np.float32)
    assert _infer(client, "bias", x=x).as_numpy("y").tolist() == [1.0, 2.0, 3.0]
    bias = np.full(3, 7, np.float32)
    assert _infer(client, "bias", x=x, bias=bias).as_numpy("y").tolist() == [7.0, 7.0, 7.0]


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_model_without_batch_axis(client: Any, rows: int) -> None:
    """With max_batch_size 0 the request's shape is the graph's, zero rows included."""
    y = _infer(client, "totals", x=np.ones((rows, 3), np.float32)).as_numpy("y")
    assert y.tolist() == [float(rows)] * 3


def test_outputs_without_elements(client: Any) -> None:
    """An output with nothing in it has its shape all the same."""
    name = "inputs_and_outputs_leave_nothing_to_complete"
    y = _infer(client, name, x=np.zeros((0, 3), np.float32)).as_numpy("y")
    assert y.shape == (0, 3)


def test_a_scalar(client: Any) -> None:
    """A scalar of the graph is one number of shape [1] outside."""
    y = _infer(client, "scalar", x=np.array([2.5], np.float32)).as_numpy("y")
    assert y.tolist() == [2.5]


@pytest.mark.parametrize("model", ["tuned", "shrinking"])
def test_tuned_models_serve(client: Any, model: str) -> None:
    """The native backend's parameters are taken, and the answers stay right."""
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(_infer(client, model, x=x).as_numpy("y"), x)


def _statistics(client: Any, model: str) -> tuple[int, int]:
    """Rows and runs so far."""
    message = client.get_inference_statistics(model)
    found = json.loads(json_format.MessageToJson(message, preserving_proto_field_name=True))
    entry = found["model_stats"][0]
    return int(entry.get("inference_count", 0)), int(entry.get("execution_count", 0))


def test_types_of_the_table_are_all_there_are() -> None:
    """Each datatype that the backend knows has a row in the table of graphs."""
    served = {c.model for c in CASES if c.name.startswith("type_")}
    assert len(served) == 12
    assert graphs.identity(TensorProto.FLOAT, ("n", 2)) not in served
