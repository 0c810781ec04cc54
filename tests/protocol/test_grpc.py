"""What is gRPC's own: contents, metadata, health, reflection, compression and limits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.serving import Serving, serving, settings

SERVICE = "inference.GRPCInferenceService"


@pytest.fixture
def engine() -> str:
    """None of this depends on the engine."""
    return "echo"


@pytest.fixture
def channel(gateway: Serving) -> Iterator[grpc.Channel]:
    """A plain channel, for what tritonclient cannot say or does not show."""
    with grpc.insecure_channel(gateway.grpc_address) as connected:
        yield connected


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    """The service's own methods."""
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def rows(**more: Any) -> Any:
    """A right request for `rows`."""
    message = service_pb2.ModelInferRequest(model_name="rows", **more)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    message.raw_input_contents.append(np.array([1, 2, 3], np.float32).tobytes())
    return message


# datatype, the field of its contents, and two values at the edges of its range
TYPED: list[tuple[str, str, list[Any], Any]] = [
    ("BOOL", "bool_contents", [True, False], np.bool_),
    ("INT8", "int_contents", [-128, 127], np.int8),
    ("INT16", "int_contents", [-(1 << 15), (1 << 15) - 1], np.int16),
    ("INT32", "int_contents", [-(1 << 31), (1 << 31) - 1], np.int32),
    ("INT64", "int64_contents", [-(1 << 63), (1 << 63) - 1], np.int64),
    ("UINT8", "uint_contents", [0, 255], np.uint8),
    ("UINT16", "uint_contents", [0, (1 << 16) - 1], np.uint16),
    ("UINT32", "uint_contents", [0, (1 << 32) - 1], np.uint32),
    ("UINT64", "uint64_contents", [0, (1 << 64) - 1], np.uint64),
    ("FP32", "fp32_contents", [0.5, float("inf")], np.float32),
    ("FP64", "fp64_contents", [1e300, -0.1], np.float64),
]


def test_every_datatype_but_the_short_floats_has_typed_contents(stub: Any) -> None:
    """Clients of other languages send them."""
    message = service_pb2.ModelInferRequest(model_name="every_type")
    for datatype, field, values, _ in TYPED:
        item = message.inputs.add(name=f"in_{datatype}", datatype=datatype, shape=[1, 2])
        getattr(item.contents, field).extend(values)
    text = message.inputs.add(name="in_BYTES", datatype="BYTES", shape=[1, 2])
    text.contents.bytes_contents.extend([b"", "grün".encode()])
    message.inputs.add(name="in_FP16", datatype="FP16", shape=[0, 2])
    with pytest.raises(grpc.RpcError) as refused:  # FP16 has none, not even for nothing at all
        stub.ModelInfer(message)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "FP16 has no typed contents: raw_input_contents are expected" in refused.value.details()
    del message.inputs[-1]
    with pytest.raises(grpc.RpcError, match="needs input 'in_FP16'"):  # the others are well
        stub.ModelInfer(message)


@pytest.mark.parametrize(("datatype", "field", "values", "dtype"), TYPED, ids=lambda v: str(v)[:12])
def test_typed_values_arrive_exactly(
    datatype: str, field: str, values: list[Any], dtype: Any, tmp_path: Path
) -> None:
    """To the edges of each range."""
    folder = tmp_path / "models" / "one"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(
        f'input {{ name: "x" data_type: TYPE_{datatype} dims: -1 }}'
        f'output {{ name: "y" data_type: TYPE_{datatype} dims: -1 }}'
    )
    message = service_pb2.ModelInferRequest(model_name="one")
    item = message.inputs.add(name="x", datatype=datatype, shape=[2])
    getattr(item.contents, field).extend(values)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with (
        serving(settings(tmp_path / "models"), run_dir) as gateway,
        grpc.insecure_channel(gateway.grpc_address) as channel,
    ):
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message)
    assert np.frombuffer(answer.raw_output_contents[0], dtype).tolist() == values


def test_bytes_that_are_no_message_are_refused_with_their_reason(channel: grpc.Channel) -> None:
    """Not as a failure of the server, which is what a gRPC library makes of them."""
    infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    with pytest.raises(grpc.RpcError) as refused:
        infer(b"\xff\xff\xff")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "the bytes are no ModelInferRequest" in refused.value.details()


def test_the_request_id_is_echoed_in_the_trailers(stub: Any) -> None:
    """On answers and refusals alike; made where none is given."""
    given = (("x-request-id", "r-17"),)
    _, call = stub.ModelInfer.with_call(rows(), metadata=given)
    assert dict(call.trailing_metadata())["x-request-id"] == "r-17"
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(service_pb2.ModelInferRequest(model_name="nobody"), metadata=given)
    assert dict(refused.value.trailing_metadata())["x-request-id"] == "r-17"
    made = {
        dict(stub.ServerLive.with_call(service_pb2.ServerLiveRequest())[1].trailing_metadata())[
            "x-request-id"
        ]
        for _ in range(2)
    }
    assert len(made) == 2


def test_who_may_try_again_is_told_when(stub: Any) -> None:
    """By the trailer that gRPC's own retries read."""
    message = rows()
    message.parameters["echo.fail"].string_param = "away"
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(message)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(refused.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"


@pytest.mark.parametrize(
    "verb",
    [
        "TraceSetting",
        "LogSettings",
        *(f"{kind}SharedMemory{verb}" for kind in ("System", "Cuda")
          for verb in ("Status", "Register", "Unregister")),
    ],
)  # fmt: skip
def test_what_is_not_offered_says_so(stub: Any, verb: str) -> None:
    """UNIMPLEMENTED, and what it is."""
    request = getattr(service_pb2, f"{verb}Request")()
    with pytest.raises(grpc.RpcError) as refused:
        getattr(stub, verb)(request)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "is not offered here" in refused.value.details()


def test_every_method_of_the_service_is_answered_or_refused_by_name(gateway: Serving) -> None:
    """None is left to the server's own 'there is no method'."""
    methods = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    answered = gateway.gateway.grpc._frontend.methods()
    assert {f"/{SERVICE}/{name}" for name in methods} == set(answered)


@pytest.mark.parametrize(
    "verb", ["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"]
)
def test_there_is_one_repository_and_it_has_no_name(stub: Any, verb: str) -> None:
    """Triton has several; who names one hears that there is none."""
    request = getattr(service_pb2, f"{verb}Request")(repository_name="other")
    with pytest.raises(grpc.RpcError, match="there is one repository") as refused:
        getattr(stub, verb)(request)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_says_serving(channel: grpc.Channel, service: str) -> None:
    """By the standard that orchestrators probe."""
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_a_stranger_is_not_found(channel: grpc.Channel) -> None:
    """And a watch of it says that it is unknown, as the standard has it."""
    health = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(grpc.RpcError, match="no service 'stranger'") as refused:
        health.Check(health_pb2.HealthCheckRequest(service="stranger"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    watch = health.Watch(health_pb2.HealthCheckRequest(service="stranger"))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_a_watch_sees_the_drain_and_ends_with_it(repository: Path, tmp_path: Path) -> None:
    """SERVING, then NOT_SERVING, while what comes is still answered."""
    with (
        serving(settings(repository), tmp_path) as gateway,
        grpc.insecure_channel(gateway.grpc_address) as channel,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        gateway.loop.call_soon_threadsafe(gateway.gateway.dataplane.drain)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert not stub.ServerReady(service_pb2.ServerReadyRequest()).ready
        assert stub.ServerLive(service_pb2.ServerLiveRequest()).live
        assert stub.ModelInfer(rows()).raw_output_contents
        gateway.call(gateway.gateway.grpc.stop(1.0))
        assert list(watch) == []


def test_reflection_is_enough_to_make_a_call(channel: grpc.Channel) -> None:
    """A client that knows nothing but the address can infer."""
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
    pool = DescriptorPool(database)
    method = pool.FindServiceByName(SERVICE).FindMethodByName("ModelInfer")
    kind, reply = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    infer = channel.unary_unary(
        f"/{SERVICE}/ModelInfer",
        request_serializer=kind.SerializeToString,
        response_deserializer=reply.FromString,
    )
    answer = infer(kind.FromString(rows().SerializeToString()))
    assert answer.model_name == "rows"


def test_a_message_over_the_limit_is_refused_compressed_or_not(
    repository: Path, tmp_path: Path
) -> None:
    """Also one that grows over it: it is not decompressed to the end."""
    chosen = settings(repository, server={"max_body_bytes": 4096})
    with (
        serving(chosen, tmp_path) as gateway,
        grpc.insecure_channel(gateway.grpc_address) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for compression in (None, grpc.Compression.Gzip, grpc.Compression.Deflate):
            with pytest.raises(grpc.RpcError, match="larger than max") as refused:
                stub.ModelInfer(rows(id="x" * 100_000), compression=compression)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.ModelInfer(rows()).raw_output_contents


def test_more_bytes_than_the_worker_may_hold_are_shed(repository: Path, tmp_path: Path) -> None:
    """Both wires count into one limit."""
    chosen = settings(repository, server={"max_buffered_bytes": 64})
    with (
        serving(chosen, tmp_path) as gateway,
        grpc.insecure_channel(gateway.grpc_address) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="holds 0 bytes of requests, at most 64") as refused:
            stub.ModelInfer(rows(id="x" * 100))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert 'lupine_shed_total{model="",reason="memory"} 1.0' in (
            gateway.gateway.telemetry.exposition().decode()
        )


@pytest.mark.parametrize(("setting", "start"), [("gzip", b"\x1f\x8b"), ("none", b"\n\x04rows")])
def test_answers_are_compressed_where_the_operator_says_so(
    repository: Path, tmp_path: Path, setting: str, start: bytes
) -> None:
    """Seen as they come over the wire, by a client that leaves them so."""
    chosen = settings(repository, server={"grpc_compression": setting})
    as_they_come = [("grpc.per_message_decompression", 0)]
    with (
        serving(chosen, tmp_path) as gateway,
        grpc.insecure_channel(gateway.grpc_address, options=as_they_come) as channel,
    ):
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        answer: bytes = infer(rows(id="x" * 1000).SerializeToString())
    assert answer.startswith(start)


def test_a_deadline_that_passes_is_counted_as_one(gateway: Serving, stub: Any) -> None:
    """The client has its DEADLINE_EXCEEDED by itself; the metric says the same, not CANCELLED."""
    message = rows()
    message.parameters["echo.latency_ms"].int64_param = 5000
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(message, timeout=0.1)
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    _await(gateway, 'code="DEADLINE_EXCEEDED"')


def test_metrics_never_name_an_unknown_model(gateway: Serving, stub: Any) -> None:
    """Labels are bounded on this wire too."""
    with pytest.raises(grpc.RpcError):
        stub.ModelInfer(service_pb2.ModelInferRequest(model_name="made-up-on-grpc"))
    _await(gateway, 'protocol="grpc"')
    assert "made-up-on-grpc" not in gateway.gateway.telemetry.exposition().decode()


def _await(gateway: Serving, text: str) -> None:
    end = time.monotonic() + 5
    while text not in gateway.gateway.telemetry.exposition().decode():
        assert time.monotonic() < end, f"no {text} in the metrics"
        time.sleep(0.02)


def test_each_request_is_a_line_in_the_access_log(repository: Path, tmp_path: Path) -> None:
    """As over HTTP: an RPC one, a message of a stream one, a refusal one."""
    log = tmp_path / "access"
    (tmp_path / "run").mkdir()
    chosen = settings(repository, telemetry={"access_log": str(log)})
    trace = "0af7651916cd43dd8448eb211c80319c"
    with (
        serving(chosen, tmp_path / "run") as gateway,
        grpc.insecure_channel(gateway.grpc_address) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        metadata = (
            ("x-request-id", "r-1"),
            ("traceparent", f"00-{trace}-b7ad6b7169203331-01"),
        )
        stub.ModelInfer(rows(), metadata=metadata)
        assert len(list(stub.ModelStreamInfer(iter([rows(), rows()])))) == 2
        stub.ModelReady(service_pb2.ModelReadyRequest(name="rows"))
        with pytest.raises(grpc.RpcError):
            stub.ModelInfer(service_pb2.ModelInferRequest(model_name="no\nbody"))
        with pytest.raises(grpc.RpcError):
            stub.TraceSetting(service_pb2.TraceSettingRequest())
    found = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["verb"], line["code"], line.get("model", "")) for line in found] == [
        ("ModelInfer", "OK", "rows"),
        ("ModelStreamInfer", "OK", "rows"),
        ("ModelStreamInfer", "OK", "rows"),
        ("ModelReady", "OK", "rows"),
        ("ModelInfer", "NOT_FOUND", "no\nbody"),
        ("TraceSetting", "UNIMPLEMENTED", ""),
    ]
    first = found[0]
    assert (first["protocol"], first["request"], first["trace"]) == ("grpc", "r-1", trace)
    assert first["version"] == "1"
    assert first["request_bytes"] == len(rows().SerializeToString())
    assert first["response_bytes"] > 12
    assert first["peer"].startswith("127.0.0.1:")
