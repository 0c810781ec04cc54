"""ModelStreamInfer: many requests on one RPC, and models that answer several times."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from service.frontends.grpc_stream import UNDER_WAY
from tests.serving import Serving, serving, settings
from tests.triton_server import running_triton

Told = tuple[Any, InferenceServerException | None]


class Stream:
    """`tritonclient.grpc`'s stream, and what came back over it."""

    def __init__(self, address: str, **options: Any) -> None:
        self.client = tritonclient.grpc.InferenceServerClient(address)
        self.told: queue.Queue[Told] = queue.Queue()
        self.client.start_stream(lambda result, error: self.told.put((result, error)), **options)

    def send(self, identity: str, value: float, model: str = "rows", **more: Any) -> None:
        """Ask for a row of `value`."""
        item = tritonclient.grpc.InferInput("x", [1, 3], "FP32")
        item.set_data_from_numpy(np.full((1, 3), value, np.float32))
        self.client.async_stream_infer(model, [item], request_id=identity, **more)

    def next(self) -> Told:
        """The next answer."""
        return self.told.get(timeout=20)

    def close(self) -> None:
        """End the client's half, and wait for the rest."""
        self.client.stop_stream()
        self.client.close()


@pytest.fixture
def stream(gateway: Serving) -> Iterator[Stream]:
    """A stream to the gateway."""
    opened = Stream(gateway.grpc_address)
    yield opened
    opened.close()


def identity(told: Told) -> str:
    """Whose answer it is."""
    result, error = told
    assert error is None, error
    found: str = result.get_response().id
    return found


def test_each_request_of_a_stream_is_answered_in_its_turn(stream: Stream) -> None:
    """With its own id and its own rows, however many are under way; and marked as the last."""
    count = UNDER_WAY + 50
    for i in range(count):
        stream.send(f"r{i}", float(i))
    for i in range(count):
        result, error = stream.next()
        assert error is None
        assert result.get_response().id == f"r{i}"
        assert result.get_response().parameters["triton_final_response"].bool_param
        assert result.as_numpy("y").tolist() == [[i, i, i]]


@pytest.mark.parametrize("engine", ["echo"])
def test_a_slow_request_is_not_overtaken(stream: Stream) -> None:
    """Answers come in the order of the requests, as Triton has it for such models."""
    stream.send("slow", 1.0, parameters={"echo.latency_ms": 300})
    stream.send("fast", 2.0)
    assert [identity(stream.next()), identity(stream.next())] == ["slow", "fast"]


def test_a_request_that_fails_says_so_and_the_stream_goes_on(gateway: Serving) -> None:
    """The failure bears the id of its request, so that the client knows whose it is."""
    with grpc.insecure_channel(gateway.grpc_address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        good = service_pb2.ModelInferRequest(model_name="rows", id="good")
        good.inputs.add(name="x", datatype="FP32", shape=[1, 3])
        good.raw_input_contents.append(bytes(12))
        bad = service_pb2.ModelInferRequest(model_name="nobody", id="bad")
        bad.inputs.add(name="x", datatype="FP32", shape=[0])
        answers = list(stub.ModelStreamInfer(iter([bad, good])))
    assert [answer.infer_response.id for answer in answers] == ["bad", "good"]
    assert answers[0].error_message == "no model 'nobody' is known here"
    assert answers[0].infer_response.model_name == "nobody"
    assert answers[1].error_message == ""


def test_a_client_that_asks_for_it_gets_a_failure_as_the_streams_end(gateway: Serving) -> None:
    """`triton_grpc_error: true`: the status is the request's."""
    strict = Stream(gateway.grpc_address, headers={"triton_grpc_error": "true"})
    try:
        strict.send("bad", 1.0, model="nobody")
        _, error = strict.next()
        assert error is not None
        assert error.status() == "StatusCode.NOT_FOUND"
        assert "no model 'nobody'" in str(error.message())
    finally:
        strict.close()


@pytest.mark.parametrize("engine", ["echo"])
def test_bytes_that_are_no_request_harm_no_other_on_the_stream(gateway: Serving) -> None:
    """They have no id to answer with; their reason comes in their turn."""
    with grpc.insecure_channel(gateway.grpc_address) as channel:
        call = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        right = service_pb2.ModelInferRequest(model_name="rows", id="right")
        right.inputs.add(name="x", datatype="FP32", shape=[1, 3])
        right.raw_input_contents.append(bytes(12))
        answers = [
            service_pb2.ModelStreamInferResponse.FromString(answer)
            for answer in call(iter([b"\xff", right.SerializeToString()]))
        ]
    assert "the bytes are no ModelInferRequest" in answers[0].error_message
    assert answers[1].infer_response.id == "right"


@pytest.mark.parametrize("engine", ["echo"])
def test_the_streams_deadline_is_that_of_each_request(gateway: Serving) -> None:
    """GRPC has one for the whole stream."""
    short = Stream(gateway.grpc_address, stream_timeout=0.3)
    try:
        short.send("slow", 1.0, parameters={"echo.latency_ms": 5000})
        _, error = short.next()
        assert "deadline" in str(error).lower()
    finally:
        short.close()


@pytest.mark.parametrize("engine", ["echo"])
async def test_the_aio_client_streams_as_well(gateway: Serving) -> None:
    """`tritonclient.grpc.aio`: an iterator of requests, and one of answers."""
    client = tritonclient.grpc.aio.InferenceServerClient(gateway.grpc_address)

    async def requests() -> Any:
        for i in range(20):
            item = tritonclient.grpc.InferInput("x", [1, 3], "FP32")
            item.set_data_from_numpy(np.full((1, 3), i, np.float32))
            yield {"model_name": "rows", "inputs": [item], "request_id": str(i)}

    answers = [result async for result, _ in client.stream_infer(requests())]
    await client.close()
    assert [result.get_response().id for result in answers] == [str(i) for i in range(20)]


def test_a_stream_ends_when_the_gateway_does(repository: Path, tmp_path: Path) -> None:
    """What it has asked is answered; then its end says where to go."""
    with serving(settings(repository), tmp_path) as gateway:
        opened = Stream(gateway.grpc_address)
        opened.send("last", 1.0, parameters={"echo.latency_ms": 300})
        time.sleep(0.1)
        gateway.call(gateway.gateway.grpc.stop(5.0))
        assert identity(opened.next()) == "last"
        _, error = opened.next()
        assert error is not None
        assert error.status() == "StatusCode.UNAVAILABLE"
        assert "shutting down" in str(error.message())
        opened.close()


# ------------------------------------------------------------------ decoupled models

_REPEAT = '''
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Says `x` as often as its first element says, then that it was the last."""

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            if x[0] < 0:
                error = pb_utils.TritonError("told to fail")
                sender.send(pb_utils.InferenceResponse(error=error))
            for turn in range(int(x[0])):
                y = pb_utils.Tensor("y", x + turn)
                sender.send(pb_utils.InferenceResponse(output_tensors=[y]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None
'''


_TOTAL = '''
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """The sum of all `x` of a sequence so far."""

    def initialize(self, args):
        self.totals = {}

    def execute(self, requests):
        answers = []
        for request in requests:
            x, start, identity = (
                pb_utils.get_input_tensor_by_name(request, name).as_numpy().ravel()[0]
                for name in ("x", "START", "CORRID")
            )
            # Triton fills the places of idle sequences with requests of none: number 0.
            self.totals[identity] = (0 if start else self.totals.get(identity, 0)) + x
            y = pb_utils.Tensor("y", np.array([[self.totals[identity]]], np.float32))
            answers.append(pb_utils.InferenceResponse(output_tensors=[y]))
        return answers
'''
_TOTAL_CONFIG = """
backend: "python" max_batch_size: 4
input { name: "x" data_type: TYPE_FP32 dims: 1 }
output { name: "y" data_type: TYPE_FP32 dims: 1 }
sequence_batching {
  control_input {
    name: "START"
    control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] }
  }
  control_input { name: "CORRID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }
}
"""


@pytest.fixture(scope="module")
def decoupled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A gateway over a Triton with the decoupled model `repeat`, and `total`, of sequences."""
    folder = tmp_path_factory.mktemp("decoupled")
    model = folder / "models" / "repeat"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.py").write_text(_REPEAT)
    (model / "config.pbtxt").write_text(
        'backend: "python" max_batch_size: 0 model_transaction_policy { decoupled: true }'
        'input { name: "x" data_type: TYPE_FP32 dims: 1 }'
        'output { name: "y" data_type: TYPE_FP32 dims: 1 }'
    )
    total = folder / "models" / "total"
    (total / "1").mkdir(parents=True)
    (total / "1" / "model.py").write_text(_TOTAL)
    (total / "config.pbtxt").write_text(_TOTAL_CONFIG)
    (folder / "run").mkdir()
    with running_triton(folder / "models", scratch=folder / "server", load_models=["*"]) as triton:
        chosen = settings(folder / "models", "triton", triton={"url": triton.grpc})
        with serving(chosen, folder / "run") as gateway:
            yield gateway


def _repeat(times: float) -> list[Any]:
    item = tritonclient.grpc.InferInput("x", [1], "FP32")
    item.set_data_from_numpy(np.array([times], np.float32))
    return [item]


@pytest.mark.triton
def test_a_decoupled_model_answers_as_often_as_it_likes(decoupled: Serving) -> None:
    """Each answer bears the request's id; the empty last one comes to who asked for it."""
    opened = Stream(decoupled.grpc_address)
    try:
        opened.client.async_stream_infer("repeat", _repeat(3), request_id="three")
        found = [opened.next()[0] for _ in range(3)]
        assert [result.as_numpy("y").tolist() for result in found] == [[3], [4], [5]]
        assert {result.get_response().id for result in found} == {"three"}
        opened.client.async_stream_infer(
            "repeat", _repeat(1), request_id="one", enable_empty_final_response=True
        )
        first, last = opened.next()[0].get_response(), opened.next()[0].get_response()
        assert not first.parameters["triton_final_response"].bool_param
        assert last.parameters["triton_final_response"].bool_param
        assert (last.id, len(last.outputs)) == ("one", 0)
    finally:
        opened.close()


@pytest.mark.triton
def test_a_decoupled_model_that_fails_says_so(decoupled: Serving) -> None:
    """And the stream goes on, however often: Triton 24.10 dies of a stream that ends too early."""
    opened = Stream(decoupled.grpc_address)
    try:
        for _ in range(100):
            opened.client.async_stream_infer("repeat", _repeat(-1), request_id="bad")
            _, error = opened.next()
            assert "told to fail" in str(error)
            opened.client.async_stream_infer("repeat", _repeat(1), request_id="good")
            assert identity(opened.next()) == "good"
    finally:
        opened.close()


@pytest.mark.triton
def test_a_decoupled_model_is_not_asked_for_one_answer(decoupled: Serving) -> None:
    """Neither unary RPC nor HTTP can carry several: both say where to go."""
    client = tritonclient.grpc.InferenceServerClient(decoupled.grpc_address)
    with pytest.raises(InferenceServerException, match="ask it by ModelStreamInfer") as refused:
        client.infer("repeat", _repeat(1))
    client.close()
    assert refused.value.status() == "StatusCode.UNIMPLEMENTED"


@pytest.mark.triton
def test_the_steps_of_a_sequence_stay_in_their_order(decoupled: Serving) -> None:
    """Sent at once on one stream, two sequences in turn: each step sees those before it."""
    steps = 20
    opened = Stream(decoupled.grpc_address)
    try:
        for step in range(steps):
            for sequence in (7, 8):
                item = tritonclient.grpc.InferInput("x", [1, 1], "FP32")
                item.set_data_from_numpy(np.array([[sequence]], np.float32))
                opened.client.async_stream_infer(
                    "total",
                    [item],
                    request_id=f"{sequence}/{step}",
                    sequence_id=sequence,
                    sequence_start=step == 0,
                    sequence_end=step == steps - 1,
                )
        for step in range(steps):
            for sequence in (7, 8):
                result, error = opened.next()
                assert error is None, str(error)
                assert result.get_response().id == f"{sequence}/{step}"
                assert result.as_numpy("y").tolist() == [[sequence * (step + 1)]]
    finally:
        opened.close()


def test_a_client_that_reads_late_gets_every_answer(tmp_path: Path) -> None:
    """Deadlines pass while its answers wait; none is lost, and the stream comes to its end."""
    count, width = 40, 1 << 18
    folder = tmp_path / "models" / "wide"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(
        'input { name: "x" data_type: TYPE_FP32 dims: -1 }'
        'output { name: "y" data_type: TYPE_FP32 dims: -1 }'
        'parameters { key: "lupine.default_timeout_ms" value { string_value: "200" } }'
    )
    (tmp_path / "run").mkdir()

    def asks() -> Iterator[Any]:
        for i in range(count):
            message = service_pb2.ModelInferRequest(model_name="wide", id=str(i))
            message.inputs.add(name="x", datatype="FP32", shape=[width])
            message.raw_input_contents.append(bytes(4 * width))
            yield message

    with (
        serving(settings(tmp_path / "models"), tmp_path / "run") as gateway,
        grpc.insecure_channel(gateway.grpc_address) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answers = stub.ModelStreamInfer(asks(), timeout=30)
        time.sleep(1.0)  # meanwhile the window is full
        found = [answer.infer_response.id for answer in answers]
    assert found == [str(i) for i in range(count)]


def test_as_many_streams_as_there_are_seats_and_no_more(repository: Path, tmp_path: Path) -> None:
    """Streams that say nothing leave room for those who ask."""
    with (
        serving(settings(repository), tmp_path) as gateway,
        grpc.insecure_channel(gateway.grpc_address) as channel,
    ):
        gateway.gateway.grpc._frontend._seats._limit = 2
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        closing = threading.Event()

        def nothing() -> Iterator[Any]:
            closing.wait(20)
            yield from ()

        idle = [stub.ModelStreamInfer(nothing()) for _ in range(2)]
        end = time.monotonic() + 10
        while gateway.gateway.grpc._frontend._seats._taken < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        with pytest.raises(grpc.RpcError, match="has 2 streams open") as refused:
            list(stub.ModelStreamInfer(iter(())))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError, match="has 2 streams open"):
            list(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()))
        assert stub.ServerReady(service_pb2.ServerReadyRequest()).ready
        closing.set()
        assert [list(stream) for stream in idle] == [[], []]
