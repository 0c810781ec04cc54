"""What arrives at Triton of a request's trace: a gateway in front of a server that records."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from tests.serving import Serving, serving, settings
from tests.unit.telemetry.samples import read, value

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
STATE = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"


class Recorder(service_pb2_grpc.GRPCInferenceServiceServicer):
    """In Triton's place: one model that echoes `x` as `y`, and keeps what came with each call."""

    def __init__(self) -> None:
        self.runs: list[dict[str, str]] = []
        self.rows: list[int] = []
        self.address = ""
        self.open = threading.Event()
        self.open.set()

    def ServerLive(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Always."""
        return service_pb2.ServerLiveResponse(live=True)

    def RepositoryIndex(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """The one model."""
        model = service_pb2.RepositoryIndexResponse.ModelIndex(name="m", version="1", state="READY")
        return service_pb2.RepositoryIndexResponse(models=[model])

    def ModelConfig(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """It takes batches."""
        config = model_config_pb2.ModelConfig(name="m", max_batch_size=8)
        for side, name in ((config.input, "x"), (config.output, "y")):
            side.add(name=name, data_type=model_config_pb2.TYPE_FP32, dims=[1])
        return service_pb2.ModelConfigResponse(config=config)

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Keep what came, wait, and echo."""
        self.runs.append({key: str(value) for key, value in context.invocation_metadata()})
        self.rows.append(request.inputs[0].shape[0])
        self.open.wait(10)
        answer = service_pb2.ModelInferResponse(model_name="m", model_version="1")
        answer.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
        answer.raw_output_contents.append(request.raw_input_contents[0])
        return answer


@pytest.fixture
def triton() -> Iterator[Recorder]:
    """Listening at `triton.address`."""
    recorder = Recorder()
    server = grpc.server(ThreadPoolExecutor(8))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(recorder, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    recorder.address = f"127.0.0.1:{port}"
    yield recorder
    server.stop(None).wait()


@pytest.fixture
def gateway(triton: Recorder, tmp_path: Path) -> Iterator[Serving]:
    """A gateway in front of it, with one batch in flight."""
    chosen = settings(
        tmp_path,
        "triton",
        triton={"url": triton.address},
        batching={"in_flight": 1},
    )
    with serving(chosen, tmp_path) as started:
        yield started


@pytest.fixture
def client(gateway: Serving) -> Iterator[httpx.Client]:
    """A client of that gateway."""
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client:
        yield client


def ask(client: httpx.Client, *headers: tuple[str, str]) -> httpx.Response:
    """One row."""
    x = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}
    return client.post("/v2/models/m/infer", json={"inputs": [x]}, headers=list(headers))


def trace_of(run: dict[str, str]) -> dict[str, str]:
    """What of the call's metadata belongs to a trace."""
    return {key: value for key, value in run.items() if key.startswith("trace")}


def test_a_trace_goes_on_to_triton_under_a_new_parent(
    client: httpx.Client, triton: Recorder
) -> None:
    """Its state untouched; the client hears nothing of it."""
    answer = ask(client, ("traceparent", PARENT), ("tracestate", STATE))
    assert answer.status_code == 200
    (run,) = triton.runs
    version, trace, parent, flags = run["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert parent != PARENT.split("-")[2]
    assert len(parent) == 16
    assert run["tracestate"] == STATE
    assert not [name for name in answer.headers if name.startswith("trace")]


def test_a_tracestate_in_several_headers_is_one_list(
    client: httpx.Client, triton: Recorder
) -> None:
    """In their order."""
    first, second = STATE.split(",")
    ask(client, ("traceparent", PARENT), ("tracestate", first), ("tracestate", second))
    assert triton.runs[0]["tracestate"] == STATE


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("tracestate", STATE)],
        [("traceparent", "00-1-2-3"), ("tracestate", STATE)],
        [("traceparent", PARENT), ("traceparent", PARENT)],
    ],
)
def test_no_trace_is_made_up(
    client: httpx.Client, triton: Recorder, headers: list[tuple[str, str]]
) -> None:
    """None given, none that can be read, or more than one."""
    assert ask(client, *headers).status_code == 200
    assert trace_of(triton.runs[0]) == {}


def test_a_tracestate_that_grpc_cannot_carry_fails_nothing(
    client: httpx.Client, triton: Recorder
) -> None:
    """It is left behind."""
    answer = ask(client, ("traceparent", PARENT), ("tracestate", "a=" + "b" * 20_000))
    assert answer.status_code == 200
    assert list(trace_of(triton.runs[0])) == ["traceparent"]


def test_a_batch_continues_the_trace_of_its_oldest_traced_member(
    gateway: Serving, client: httpx.Client, triton: Recorder
) -> None:
    """One run can have one parent only."""
    triton.open.clear()
    with ThreadPoolExecutor(4) as pool:
        answers = []
        for number in (0, 0, 7, 8):
            headers = [("traceparent", f"00-{number:032x}-00f067aa0ba902b7-01")] if number else []
            answers.append(pool.submit(ask, client, *headers))
            while inflight(gateway) < len(answers):
                time.sleep(0.01)
        triton.open.set()
        assert [answer.result().status_code for answer in answers] == [200] * 4
    assert triton.rows == [1, 3]
    assert trace_of(triton.runs[0]) == {}
    assert triton.runs[1]["traceparent"].split("-")[1] == f"{7:032x}"


def inflight(gateway: Serving) -> float:
    """Requests that hold a permit."""
    samples = read(gateway.gateway.telemetry.exposition().decode())
    return value(samples, "lupine_inflight_requests") or 0.0
