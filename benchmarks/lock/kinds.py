"""Which verb of either wire changes anything: each RPC and each documented path has its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

SERVICE = "inference.GRPCInferenceService"
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})


class Kind(Enum):
    """What a verb does."""

    READS = "reads"
    CHANGES = "changes"  # with the key, or locally
    NEVER = "never"  # would change, and is offered to nobody


_OF_RPCS: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    Kind.READS: {
        SERVICE: (
            "ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata",
            "ModelConfig", "ModelStatistics", "ModelInfer", "ModelStreamInfer", "RepositoryIndex",
        ),
        "grpc.health.v1.Health": ("Check", "Watch"),
        "grpc.reflection.v1alpha.ServerReflection": ("ServerReflectionInfo",),
    },
    Kind.CHANGES: {SERVICE: ("RepositoryModelLoad", "RepositoryModelUnload")},
    Kind.NEVER: {
        SERVICE: (
            "SystemSharedMemoryStatus", "SystemSharedMemoryRegister",
            "SystemSharedMemoryUnregister", "CudaSharedMemoryStatus", "CudaSharedMemoryRegister",
            "CudaSharedMemoryUnregister", "TraceSetting", "LogSettings",
        )
    },
}  # fmt: skip
RPCS: Mapping[str, Kind] = {
    f"{service}/{name}": kind
    for kind, services in _OF_RPCS.items()
    for service, names in services.items()
    for name in names
}
"""By `service/method`."""

_MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
_READING = (
    "get /v2", "get /v2/health/live", "get /v2/health/ready", "get /v2/models/stats",
    "post /v2/repository/index", "get /livez", "get /readyz", "get /metrics", "post /identify",
    "get /lupine/v1/sync",
    *(f"get {path}{below}" for path in _MODEL for below in ("", "/ready", "/config", "/stats")),
    *(f"post {path}/infer" for path in _MODEL),
)  # fmt: skip
_CHANGING = (
    *(f"post /v2/repository/models/{{model}}/{verb}" for verb in ("load", "unload")),
    *(f"post /lupine/v1/{verb}" for verb in ("sync", "rollback")),
)
PATHS: Mapping[str, Kind] = dict.fromkeys(_READING, Kind.READS) | dict.fromkeys(
    _CHANGING, Kind.CHANGES
)
"""By `method path`, as the OpenAPI document spells them."""


def rpcs(services: Iterable[Any]) -> Iterator[str]:
    """The RPCs of these service descriptors."""
    return (f"{each.full_name}/{method.name}" for each in services for method in each.methods)


def paths(document: Mapping[str, Any]) -> Iterator[str]:
    """The verbs of an OpenAPI document."""
    return (
        f"{method} {path}"
        for path, item in document["paths"].items()
        for method in item
        if method in _METHODS
    )
