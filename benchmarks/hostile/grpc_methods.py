"""Every RPC but the inference: wrong arguments, wrong callers, late callers, and none at all."""

from __future__ import annotations

from collections.abc import Iterator

from grpc import StatusCode
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tritonclient.grpc import service_pb2 as pb

from benchmarks.hostile.grpc_case import (
    INFER,
    LATE,
    MALFORMED,
    NOT_OFFERED,
    SERVICE,
    UNKNOWN_NAME,
    Call,
    Metadata,
    rpc,
)
from benchmarks.hostile.grpc_messages import rows, slow

_BAD_NAMES = {
    "empty": "",
    "unknown": "nobody",
    "up and away": "../../etc/passwd",
    "a zero": "rows\0",
    "an alias of nothing": "rows@",
    "long": "m" * 100_000,
}
_HEALTH = "/grpc.health.v1.Health/"
_MODEL_RPCS = {
    "ModelMetadata": pb.ModelMetadataRequest,
    "ModelConfig": pb.ModelConfigRequest,
    "ModelStatistics": pb.ModelStatisticsRequest,
}
_READY_RPCS = ("ServerLive", "ServerReady", "ModelReady")  # of whatever model, they say yes or no
_REPOSITORY_RPCS = {
    "RepositoryModelLoad": pb.RepositoryModelLoadRequest,
    "RepositoryModelUnload": pb.RepositoryModelUnloadRequest,
}
_OTHERS = {
    "ServerMetadata": pb.ServerMetadataRequest,
    "RepositoryIndex": pb.RepositoryIndexRequest,
    "SystemSharedMemoryStatus": pb.SystemSharedMemoryStatusRequest,
    "SystemSharedMemoryRegister": pb.SystemSharedMemoryRegisterRequest,
    "SystemSharedMemoryUnregister": pb.SystemSharedMemoryUnregisterRequest,
    "CudaSharedMemoryStatus": pb.CudaSharedMemoryStatusRequest,
    "CudaSharedMemoryRegister": pb.CudaSharedMemoryRegisterRequest,
    "CudaSharedMemoryUnregister": pb.CudaSharedMemoryUnregisterRequest,
    "TraceSetting": pb.TraceSettingRequest,
    "LogSettings": pb.LogSettingsRequest,
}


def cases() -> Iterator[Call]:
    """All of them."""
    yield from _unknown()
    yield from _models()
    yield from _loads()
    yield from _callers()
    yield from _not_offered()
    yield from _undecodable()
    yield from _deadlines()
    yield from _health()


def _unknown() -> Iterator[Call]:
    message = rows()
    for path in (
        f"/{SERVICE}/Nothing",
        f"/{SERVICE}/modelinfer",
        f"/{SERVICE}/ModelInfer/",
        f"/{SERVICE}//ModelInfer",
        f"/{SERVICE}/ModelInfer?x=1",
        f"/{SERVICE}/",
        f"/{SERVICE}",
        "/inference.Nothing/ModelInfer",
        "/GRPCInferenceService/ModelInfer",
        "/nvidia.inferenceserver.GRPCService/Infer",
        "/v2/models/rows/infer",
        "/grpc.health.v1.Health/Nothing",
        "/grpc.reflection.v1.ServerReflection/Nothing",
        "/",
        "//",
        "/../../etc/passwd",
        "/" + "a" * 4000 + "/b",
    ):
        yield rpc("unknown methods", path[:60], path, message, NOT_OFFERED)


def _models() -> Iterator[Call]:
    for method, kind in _MODEL_RPCS.items():
        for name, text in _BAD_NAMES.items():
            if not text and method == "ModelStatistics":
                continue  # it stands for all models
            message = kind(name=text)
            yield rpc("models", f"{method}: {name}", method, message, UNKNOWN_NAME, MALFORMED)
        for version in ("7", "-1", "latest", "9" * 10_000):
            message = kind(name="rows", version=version)
            text = f"{method}, version {version[:10]}"
            yield rpc("models", text, method, message, UNKNOWN_NAME, MALFORMED, mentions="rows")


def _loads() -> Iterator[Call]:
    for method, kind in _REPOSITORY_RPCS.items():
        for name, text in _BAD_NAMES.items():
            message = kind(model_name=text)
            yield rpc("loads", f"{method}: {name}", method, message, UNKNOWN_NAME, MALFORMED)
        message = kind(model_name="rows", repository_name="elsewhere")
        wrong = (MALFORMED, NOT_OFFERED, UNKNOWN_NAME)
        yield rpc("loads", f"{method} from another repository", method, message, *wrong)
    for key in ("config", "file:1/model.onnx", "file:", "file:../../x", "file:/etc/passwd"):
        for model in ("rows", "nobody"):
            message = pb.RepositoryModelLoadRequest(model_name=model)
            if key == "config":
                message.parameters[key].string_param = '{"backend": "python"}'
            else:
                message.parameters[key].bytes_param = b"\0" * 100
            text = f"{key} of {model}"
            denied = StatusCode.PERMISSION_DENIED
            yield rpc("load parameters", text, "RepositoryModelLoad", message, denied)
    for name, value in (("as a number", {"int64_param": 1}), ("without a value", {})):
        message = pb.RepositoryModelLoadRequest(model_name="rows")
        message.parameters["config"].CopyFrom(pb.ModelRepositoryParameter(**value))
        denied = StatusCode.PERMISSION_DENIED
        yield rpc("load parameters", f"config {name}", "RepositoryModelLoad", message, denied)


def _callers() -> Iterator[Call]:
    """Behind a proxy any peer looks local, and no key is set: nobody may."""
    ways: dict[str, Metadata] = {
        "forwarded": (("forwarded", "for=192.0.2.1"),),
        "x-forwarded-for": (("x-forwarded-for", "127.0.0.1"),),
        "x-forwarded-host": (("x-forwarded-host", "localhost"),),
        "x-real-ip": (("x-real-ip", "127.0.0.1"),),
        "via": (("via", "2 proxy"),),
        "a browser's origin": (("origin", "http://evil.example"),),
    }
    for method, kind in _REPOSITORY_RPCS.items():
        for name, metadata in ways.items():
            yield rpc(
                "callers",
                f"{method}: {name}",
                method,
                kind(model_name="rows"),
                StatusCode.PERMISSION_DENIED,
                metadata=metadata,
            )


def _not_offered() -> Iterator[Call]:
    answered = {"ServerMetadata", "RepositoryIndex"}
    for method, kind in _OTHERS.items():
        if method not in answered:
            yield rpc("not offered", method, method, kind(), NOT_OFFERED)
    register = pb.SystemSharedMemoryRegisterRequest(name="r", key="/etc/passwd", byte_size=2**60)
    yield rpc(
        "not offered", "a region of 2^60", "SystemSharedMemoryRegister", register, NOT_OFFERED
    )
    log = pb.LogSettingsRequest()
    log.settings["log_file"].string_param = "/etc/passwd"
    yield rpc("not offered", "a log over a file", "LogSettings", log, NOT_OFFERED)
    trace = pb.TraceSettingRequest(model_name="rows")
    trace.settings["trace_file"].value.append("/etc/passwd")
    yield rpc("not offered", "a trace over a file", "TraceSetting", trace, NOT_OFFERED)


def _undecodable() -> Iterator[Call]:
    for method in (*_MODEL_RPCS, *_REPOSITORY_RPCS, *_OTHERS, *_READY_RPCS):
        for name, data in (("ones", b"\xff" * 50), ("a cut field", b"\x0a\x05ab")):
            expected = (MALFORMED, NOT_OFFERED) if method in _OTHERS else (MALFORMED,)
            yield rpc("no protobuf elsewhere", f"{method}: {name}", method, data, *expected)
    # These two are grpc's own: it says INTERNAL of bytes that it cannot read.
    own = (MALFORMED, StatusCode.INTERNAL)
    yield rpc("no protobuf elsewhere", "health: ones", _HEALTH + "Check", b"\xff" * 50, *own)


def _deadlines() -> Iterator[Call]:
    work = 100_000
    for micros in (1, 1000, 20_000):
        message = slow(work, timeout=micros)
        yield rpc("deadlines", f"the parameter says {micros} us", INFER, message, LATE)
    for seconds in (0.0, 1e-6, 0.001, 0.02):
        text = f"the call says {seconds * 1000:g} ms"
        yield rpc("deadlines", text, INFER, slow(work), LATE, timeout=seconds)
    both = slow(work, timeout=30_000_000)
    yield rpc("deadlines", "the call is earlier", INFER, both, LATE, timeout=0.02)
    both = slow(work, timeout=1000)
    yield rpc("deadlines", "the parameter is earlier", INFER, both, LATE, timeout=10)


def _health() -> Iterator[Call]:
    check = _HEALTH + "Check"
    for name, text in _BAD_NAMES.items():
        if text:
            message = health_pb2.HealthCheckRequest(service=text)
            yield rpc("health", name, check, message, UNKNOWN_NAME)
    message = health_pb2.HealthCheckRequest(service=f"/{SERVICE}/")
    yield rpc("health", "a path", check, message, UNKNOWN_NAME)


def reflections() -> dict[str, bytes]:
    """Questions to the reflection that have no answer, but an error."""
    ask = reflection_pb2.ServerReflectionRequest
    extension = reflection_pb2.ExtensionRequest
    questions = {
        "nothing asked": ask(),
        "an unknown file": ask(file_by_filename="nothing.proto"),
        "a file outside": ask(file_by_filename="../../etc/passwd"),
        "an unknown symbol": ask(file_containing_symbol="inference.Nothing"),
        "an empty symbol": ask(file_containing_symbol=""),
        "a long symbol": ask(file_containing_symbol="a." * 50_000),
        "a symbol with a zero": ask(file_containing_symbol="inference\0"),
        "an extension of nothing": ask(
            file_containing_extension=extension(
                containing_type="inference.Nothing", extension_number=7
            )
        ),
        "a negative extension": ask(
            file_containing_extension=extension(
                containing_type="inference.ModelInferRequest", extension_number=-1
            )
        ),
        "all extensions of nothing": ask(all_extension_numbers_of_type="inference.Nothing"),
    }
    return {name: message.SerializeToString() for name, message in questions.items()}
