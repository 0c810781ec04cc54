"""Many callers at once: each gets their own answer, in time, and nobody pays for a stranger."""

from __future__ import annotations

import time

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.protocol.clients import CALLERS, Answer, Ask, Client, Http, RefusedError
from tests.protocol.conftest import GatewayOf

COMPUTING = ["onnx", pytest.param("triton", marks=pytest.mark.triton)]


def _own_row(caller: int) -> np.ndarray:
    return np.array([[caller, -caller, caller + 0.5]], np.float32)


def test_each_of_128_concurrent_callers_gets_their_own_answer(client: Client) -> None:
    """Batches are cut apart rightly: rows and ids go back to who sent them."""
    asks = [
        Ask(model="rows", inputs={"x": np.repeat(_own_row(i), 1 + i % 3, 0)}, id=f"caller-{i}")
        for i in range(CALLERS)
    ]
    for ask, answer in zip(asks, client.infer_at_once(asks), strict=True):
        assert isinstance(answer, Answer)
        assert answer.message["id"] == ask.id
        np.testing.assert_array_equal(answer.tensors["y"], ask.inputs["x"])


@pytest.mark.parametrize("engine", COMPUTING)
def test_a_bad_member_of_a_batch_harms_no_stranger(client: Client) -> None:
    """`lookup` fails on 4 and above, a whole batch at a time; only who asked for it hears so."""
    wanted = [i % 5 for i in range(CALLERS)]
    asks = [Ask(model="lookup", inputs={"index": np.array([[i]], np.int64)}) for i in wanted]
    for index, answer in zip(wanted, client.infer_at_once(asks), strict=True):
        if index < 4:
            assert isinstance(answer, Answer)
            assert answer.tensors["value"].tolist() == [[10 * index]]
        else:
            assert isinstance(answer, RefusedError)
            assert answer.kind == "INTERNAL"
            assert "out of data bounds" in answer.reason


def test_a_failing_run_is_told_as_the_engines_failure(gateway_of: GatewayOf) -> None:
    """`echo` fails when told to; a request beside it is served."""
    client = Http(gateway_of("echo").address)
    good = Ask(model="rows", inputs={"x": _own_row(1)})
    bad = Ask(model="rows", inputs={"x": _own_row(2)}, parameters={"echo.fail": "input"})
    away = Ask(model="rows", inputs={"x": _own_row(3)}, parameters={"echo.fail": "away"})
    try:
        answers = client.infer_at_once([good, bad, away, good])
    finally:
        client.close()
    assert [getattr(answer, "kind", "OK") for answer in answers] == [
        "OK",
        "INTERNAL",
        "UNAVAILABLE",
        "OK",
    ]


def test_a_connection_with_hundreds_of_requests_in_flight_starves_no_other(
    gateway_of: GatewayOf,
) -> None:
    """Who asks once is answered long before them: connections take turns."""
    message = service_pb2.ModelInferRequest(model_name="sums")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    message.raw_input_contents.append(np.zeros((1, 3), np.float32).tobytes())
    message.parameters["echo.latency_ms"].int64_param = 50
    gateway = gateway_of("echo")
    own = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each channel
    with (
        grpc.insecure_channel(gateway.grpc_address, own) as greedy,
        grpc.insecure_channel(gateway.grpc_address, own) as calm,
    ):
        once = service_pb2_grpc.GRPCInferenceServiceStub(calm)
        once.ModelInfer(message, timeout=20)
        ask = service_pb2_grpc.GRPCInferenceServiceStub(greedy).ModelInfer.future
        calls = [ask(message, timeout=20) for _ in range(400)]
        while gateway.gateway.dataplane.inflight < 200:
            time.sleep(0.001)
        once.ModelInfer(message, timeout=20)
        assert sum(call.done() for call in calls) < 300
        for call in calls:
            assert call.result().outputs


@pytest.mark.parametrize("how", ["wire", "parameter"])
def test_a_deadline_ends_the_wait(client: Client, how: str) -> None:
    """A run that takes longer than the caller will wait is answered at the deadline."""
    limit = {"deadline_ms": 150.0} if how == "wire" else {"timeout_us": 150_000}
    ask = Ask(
        model="slow",
        inputs={"steps": np.array([400_000], np.int64)},
        parameters={"echo.latency_ms": 400},
        **limit,
    )
    client.infer(Ask(model="slow", inputs={"steps": np.array([1], np.int64)}))
    begun = time.monotonic()
    with pytest.raises(RefusedError, match=r"deadline|Deadline") as refused:
        client.infer(ask)
    assert refused.value.kind == "DEADLINE_EXCEEDED"
    assert 0.1 < time.monotonic() - begun < 0.35


def test_the_earlier_of_two_deadlines_wins(client: Client) -> None:
    """The wire's deadline and the request's parameter both hold.

    gRPC's own client makes a millisecond of anything shorter: in that a small model has answered.
    """
    for deadline_ms, timeout_us in ((0.001, 60_000_000), (60_000.0, 1)):
        ask = Ask(
            model="slow",
            inputs={"steps": np.array([400_000], np.int64)},
            parameters={"echo.latency_ms": 400},
            deadline_ms=deadline_ms,
            timeout_us=timeout_us,
        )
        with pytest.raises(RefusedError) as refused:
            client.infer(ask)
        assert refused.value.kind == "DEADLINE_EXCEEDED"


def test_time_enough_is_no_failure(client: Client) -> None:
    """A deadline that can be kept changes nothing."""
    ask = Ask(model="rows", inputs={"x": _own_row(7)}, deadline_ms=20_000, timeout_us=20_000_000)
    np.testing.assert_array_equal(client.infer(ask).tensors["y"], _own_row(7))


@pytest.mark.triton
def test_the_answers_of_onnx_and_triton_agree(gateway_of: GatewayOf) -> None:
    """The same graph, the same rows, two engines: within 1e-6."""
    rows = np.random.default_rng(7).normal(size=(8, 3)).astype(np.float32)
    answers = []
    for engine in ("onnx", "triton"):
        client = Http(gateway_of(engine).address)
        try:
            answers.append(client.infer(Ask(model="sums", inputs={"x": rows})).tensors)
        finally:
            client.close()
    assert answers[0]["total"].shape == answers[1]["total"].shape == (8, 1)
    for name in ("total", "double"):
        np.testing.assert_allclose(answers[0][name], answers[1][name], rtol=0, atol=1e-6)
    np.testing.assert_allclose(answers[0]["total"][:, 0], rows.sum(1), atol=1e-5)
