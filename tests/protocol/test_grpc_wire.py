"""Calls as no library makes them, and what is left of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.hostile import http2_call
from benchmarks.hostile.http2_call import Answer
from service.frontends.grpc_call import Call
from service.frontends.grpc_direct import DirectCall
from service.frontends.grpc_framing import framed
from service.frontends.http2.stream import Stream
from tests.serving import Serving, serving, settings

INFER = b"/inference.GRPCInferenceService/ModelInfer"
STREAM = b"/inference.GRPCInferenceService/ModelStreamInfer"
WATCH = b"/grpc.health.v1.Health/Watch"
OK, INVALID, LATE, EXHAUSTED, INTERNAL = 0, 3, 4, 8, 13


def rows() -> bytes:
    """A right request for `rows`, as a message."""
    message = service_pb2.ModelInferRequest(model_name="rows")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    message.raw_input_contents.append(np.array([1, 2, 3], np.float32).tobytes())
    return framed(message.SerializeToString())


@pytest.fixture
def worker(repository: Path, tmp_path: Path) -> Iterator[Serving]:
    """A gateway of its own, so that what is left of a call can be told."""
    with serving(settings(repository), tmp_path) as gateway:
        yield gateway


def call(
    gateway: Serving,
    body: bytes,
    *more: tuple[bytes, bytes],
    path: bytes = INFER,
    ends: bool = True,
    seconds: float = 5.0,
) -> Answer:
    """One call on a connection of its own."""
    headers = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"gateway"),
        (b"content-type", b"application/grpc"),
        *more,
    )
    address = (gateway.host, gateway.grpc_port)
    return http2_call.call(address, headers, body, ends=ends, seconds=seconds)


def left(gateway: Serving) -> tuple[int, int, int]:
    """Calls, bytes and inferences that are still held, once they had the time to go."""
    server = gateway.gateway.grpc
    end = time.monotonic() + 5
    while True:
        found = (
            server._calls._open, server._calls._bounds.held.count,
            gateway.gateway.dataplane.inflight,
        )  # fmt: skip
        if found == (0, 0, 0) or time.monotonic() > end:
            return found
        time.sleep(0.02)


BODIES: dict[str, tuple[bytes, int]] = {
    "a right one": (rows(), OK),
    "nothing": (b"", INVALID),
    "half a prefix": (b"\0\0", INVALID),
    "half a message": (rows()[:-5], INVALID),
    "two messages": (rows() * 2, INVALID),
    "a wrong flag": (b"\7" + rows()[1:], INVALID),
}


@pytest.mark.parametrize("path", [INFER, b"/inference.GRPCInferenceService/ServerLive"])
@pytest.mark.parametrize("traced", [False, True])
def test_a_call_that_takes_one_message_takes_one(
    worker: Serving,
    path: bytes,
    traced: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Directly or in a task, and whatever comes of it, nothing is left of it."""
    trace = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    for name, (body, expected) in BODIES.items():
        if path != INFER and name == "a right one":
            continue  # it is another message's
        answer = call(worker, body, *((trace,) if traced else ()), path=path)
        assert (name, answer.http, answer.grpc) == (name, 200, expected), answer
        assert bool(answer.details) is (expected != OK)
    assert left(worker) == (0, 0, 0)


@pytest.mark.parametrize("path", [INFER, STREAM, WATCH])
def test_a_message_that_does_not_come_in_time_is_waited_for_no_longer(
    worker: Serving, path: bytes
) -> None:
    """The call's own deadline ends it, and lets go of what has come."""
    answer = call(worker, rows()[:-5], (b"grpc-timeout", b"100m"), path=path, ends=False)
    assert answer.grpc == LATE
    assert left(worker) == (0, 0, 0)


@pytest.mark.parametrize("path", [INFER, STREAM, WATCH])
def test_a_client_that_leaves_amid_a_message_leaves_nothing(worker: Serving, path: bytes) -> None:
    """The connection is gone, and so is what it held."""
    for _ in range(3):
        assert call(worker, rows()[:-5], path=path, ends=False, seconds=0.2).ended == ""
    assert left(worker) == (0, 0, 0)


def test_half_messages_count_into_what_the_worker_holds(repository: Path, tmp_path: Path) -> None:
    """They are refused as they arrive, not when they are whole."""
    chosen = settings(repository, server={"max_buffered_bytes": 100_000})
    big = framed(bytes(200_000))
    with serving(chosen, tmp_path) as gateway:
        for path in (INFER, STREAM):
            answer = call(gateway, big[:150_000], path=path, ends=False)
            assert answer.grpc == EXHAUSTED
            assert "at most 100000" in answer.details
        assert left(gateway) == (0, 0, 0)


def test_more_calls_than_a_worker_takes_are_refused(worker: Serving) -> None:
    """And told that they may come again."""
    worker.gateway.grpc._calls._max_calls = 0
    answer = call(worker, rows())
    assert (answer.grpc, "calls in flight" in answer.details) == (EXHAUSTED, True)


@pytest.mark.parametrize(
    ("more", "http"),
    [((b"content-type", b"text/plain"), 415), ((b":method", b"GET"), 405)],
    ids=["415", "405"],
)
def test_what_is_no_call_is_answered_as_http(
    worker: Serving, more: tuple[bytes, bytes], http: int
) -> None:
    """A browser, say, or a probe of HTTP/2."""
    headers = dict(
        ((b":method", b"POST"), (b":scheme", b"http"), (b":path", INFER),
         (b"content-type", b"application/grpc"), more)
    )  # fmt: skip
    address = (worker.host, worker.grpc_port)
    answer = http2_call.call(address, tuple(headers.items()), b"", ends=True, seconds=5)
    assert (answer.http, answer.grpc, answer.ended) == (http, None, "trailers")


@pytest.mark.parametrize("path", [INFER, b"/inference.GRPCInferenceService/ServerReady"])
def test_a_defect_of_ours_is_answered_and_logged(
    worker: Serving, path: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """INTERNAL, and the name under which the log has it."""

    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    dataplane = worker.gateway.dataplane
    monkeypatch.setattr(dataplane, "begin", broken)
    monkeypatch.setattr(dataplane, "ready", broken)
    answer = call(worker, rows() if path == INFER else framed(b""), path=path)
    assert answer.grpc == INTERNAL
    name = answer.details.rpartition(" ")[2]
    assert any(name in record.getMessage() for record in caplog.records)
    assert left(worker) == (0, 0, 0)


def test_an_answer_is_compressed_only_for_who_takes_it(repository: Path, tmp_path: Path) -> None:
    """Who says nothing of it gets plain messages."""
    chosen = settings(repository, server={"grpc_compression": "gzip"})
    with serving(chosen, tmp_path) as gateway:
        assert call(gateway, rows()).grpc == OK
        with grpc.insecure_channel(gateway.grpc_address) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            message = service_pb2.ModelInferRequest.FromString(rows()[5:])
            for compression in (grpc.Compression.NoCompression, grpc.Compression.Deflate):
                assert stub.ModelInfer(message, compression=compression).model_name == "rows"
            answers = stub.ModelStreamInfer(iter([message] * 3), compression=grpc.Compression.Gzip)
            assert len(list(answers)) == 3


def test_a_message_of_many_frames_is_one(tmp_path: Path) -> None:
    """Larger than a stream's window, both ways."""
    folder = tmp_path / "models" / "wide"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(
        'input { name: "x" data_type: TYPE_FP32 dims: -1 }'
        'output { name: "y" data_type: TYPE_FP32 dims: -1 }'
    )
    values = np.random.default_rng(7).random(1 << 21, np.float32)
    message = service_pb2.ModelInferRequest(model_name="wide")
    message.inputs.add(name="x", datatype="FP32", shape=values.shape)
    message.raw_input_contents.append(values.tobytes())
    (tmp_path / "run").mkdir()
    options = [("grpc.max_receive_message_length", -1)]
    with (
        serving(settings(tmp_path / "models"), tmp_path / "run") as gateway,
        grpc.insecure_channel(gateway.grpc_address, options=options) as channel,
    ):
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message)
        assert left(gateway) == (0, 0, 0)
    assert answer.raw_output_contents[0] == values.tobytes()


def test_a_client_that_leaves_is_counted_as_one(worker: Serving) -> None:
    """CANCELLED, as long as its deadline was not near."""
    message = service_pb2.ModelInferRequest.FromString(rows()[5:])
    message.parameters["echo.latency_ms"].int64_param = 5000
    with grpc.insecure_channel(worker.grpc_address) as channel:
        future = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(message)
        time.sleep(0.3)
        future.cancel()
        assert left(worker) == (0, 0, 0)
    assert 'code="CANCELLED"' in worker.gateway.telemetry.exposition().decode()


def test_a_call_that_ended_leaves_nothing_to_the_collector(worker: Serving) -> None:
    """Else its message would stay in memory for as long as the collector takes its time."""
    trace = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    gc.collect()
    gc.disable()
    try:
        for more in ((), (trace,)):
            for body, expected in BODIES.values():
                assert call(worker, body, *more).grpc == expected
            call(worker, rows()[:-5], *more, ends=False, seconds=0.1)
            call(worker, rows()[:-5], *more, (b"grpc-timeout", b"50m"), ends=False)
        assert call(worker, rows() * 2, path=STREAM).ended
        assert left(worker) == (0, 0, 0)
        end = time.monotonic() + 5
        while _calls() and time.monotonic() < end:
            time.sleep(0.05)
        assert not _calls()
    finally:
        gc.enable()


def _calls() -> list[object]:
    # By type alone: isinstance would ask strangers for their class, and some warn.
    kinds = (Call, DirectCall, Stream)
    return [each for each in gc.get_objects() if issubclass(type(each), kinds)]
