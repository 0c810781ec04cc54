"""Every setting: `lupine.toml` < environment `LUPINE_SECTION__KEY` < flags of the command.

Flags travel to the workers as environment variables, so that every process reads the same.
"""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from service.errors import ConfigurationError

PREFIX = "LUPINE_"
FILE = "lupine.toml"
REGISTRY = "MLFLOW_TRACKING_URI"  # the variable that names the registry, for MLflow's tools too


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


class Server(_Section):
    """Where and how the gateway listens."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(3000, ge=1, le=65535, description="HTTP port")
    grpc_port: int = Field(3001, ge=1, le=65535, description="gRPC port")
    grpc_compression: Literal["none", "deflate", "gzip"] = Field(
        "none", description="compression of gRPC answers, for clients that take it"
    )
    workers: int = Field(
        0, ge=0, le=256, description="gateway processes; 0: one a core for Triton, else one"
    )
    keep_alive_seconds: float = Field(
        75.0, gt=0, description="an idle connection of HTTP lives so long; one of gRPC is pinged"
    )
    header_seconds: float = Field(10.0, gt=0, description="a request's head may take so long")
    body_idle_seconds: float = Field(30.0, gt=0, description="a body may pause so long")
    max_header_bytes: ByteSize = Field(
        ByteSize(65536), gt=0, description="bytes of a request's head"
    )
    max_body_bytes: ByteSize = Field(
        ByteSize(64 << 20), gt=0, description="bytes of a body, compressed and decompressed"
    )
    max_buffered_bytes: ByteSize = Field(
        ByteSize(512 << 20), gt=0, description="bytes of bodies that one worker holds at once"
    )
    lame_duck_seconds: float = Field(
        1.0,
        ge=0,
        description="at exit, not ready but serving; longer than a load balancer's probe interval",
    )
    grace_seconds: int = Field(
        30, ge=1, description="requests in flight may take so long at exit, from the signal on"
    )

    @property
    def url_host(self) -> str:
        """The host as a URL has it: an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host


class Repository(_Section):
    """Where the models are."""

    path: Path = Field(Path("triton_repo"), description="the model repository")


class EngineSettings(_Section):
    """What runs the models."""

    kind: Literal["auto", "triton", "onnx", "echo"] = Field(
        "auto", description="auto: Triton where there is one, else ONNX Runtime in process"
    )
    threads: int = Field(2, ge=1, le=64, description="runs at once of an engine in process")
    echo_latency_ms: float = Field(0.0, ge=0, le=60_000, description="how long echo takes")


class TritonSettings(_Section):
    """The tritonserver behind the gateway."""

    url: str = Field("", description="HOST:PORT[,...] of servers elsewhere; empty: the managed one")
    http_url: str = Field(
        "", description="their HTTP addresses, in the same order; empty: inference goes over gRPC"
    )
    metrics_url: str = Field("", description="the /metrics of a server elsewhere, to re-export")
    runtime: Path = Field(Path(".triton"), description="the managed runtime, built by `make setup`")
    start_seconds: float = Field(120.0, gt=0, description="a start may take so long")
    shared_memory: Literal["auto", "off"] = Field(
        "auto", description="auto: large inputs go to the managed Triton through shared memory"
    )
    shared_memory_bytes: ByteSize = Field(
        ByteSize(64 << 20), gt=0, description="bytes of it that one worker may use"
    )


class BatchingSettings(_Section):
    """How requests are merged."""

    in_flight: int = Field(
        4, ge=1, le=64, description="batches of a model in the engine at once, per worker, at most"
    )
    max_waiting: int = Field(4096, ge=1, description="requests that may wait in one queue")
    max_bytes: ByteSize = Field(
        ByteSize(16 << 20), gt=0, description="bytes of a batch's inputs; one request may have more"
    )


class AdmissionSettings(_Section):
    """Who may enter."""

    per_model: int = Field(4096, ge=1, description="requests of a model in flight, per worker")
    total: int = Field(8192, ge=1, description="requests of all models in flight, per worker")


class RegistrySettings(_Section):
    """What `lupine sync` takes from MLflow; MLFLOW_TRACKING_URI says where that is."""

    sync: Literal["auto", "off"] = Field(
        "auto", description="auto: a gateway syncs by itself where MLFLOW_TRACKING_URI is set"
    )
    webhook_secret: SecretStr = Field(
        SecretStr(""), description="that MLflow signs its webhook with; empty: none is taken"
    )
    select: Literal["tag", "names", "prefix"] = Field(
        "tag", description="models to serve: with the tag lupine.serve=true, or by name"
    )
    names: str = Field("", description="NAME[,...] for select = names")
    prefix: str = Field("", description="what names begin with, for select = prefix")
    poll_seconds: float = Field(
        10.0, ge=1, le=3600, description="seconds between two looks, more or less"
    )
    keep_versions: int = Field(
        3, ge=1, le=100, description="versions of a model that stay, routed ones among them"
    )
    max_model_bytes: ByteSize = Field(
        ByteSize(2 << 30), gt=0, description="bytes that a model's file may have"
    )
    max_batch_size: int = Field(
        64, ge=1, le=4096, description="rows of a batch, where the version says nothing"
    )
    smoke_seconds: int = Field(
        60, ge=1, le=3600, description="seconds of CPU that a trial run may take"
    )
    smoke_memory_bytes: ByteSize = Field(
        ByteSize(8 << 30), gt=0, description="bytes of address space that a trial run may take"
    )

    def chosen_names(self) -> frozenset[str]:
        """The names in `names`."""
        return frozenset(part.strip() for part in self.names.split(",") if part.strip())


class TelemetrySettings(_Section):
    """What is told of the requests."""

    access_log: str = Field(
        "off", min_length=1, description="a line for each request: off, stderr, stdout or a file"
    )
    access_log_share: float = Field(
        1.0, ge=0, le=1, description="so much of it is logged; what failed is logged always"
    )


class Settings(_Section):
    """The whole tree."""

    server: Server = Server()
    repository: Repository = Repository()
    engine: EngineSettings = EngineSettings()
    triton: TritonSettings = TritonSettings()
    batching: BatchingSettings = BatchingSettings()
    admission: AdmissionSettings = AdmissionSettings()
    registry: RegistrySettings = RegistrySettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    admin_key: SecretStr = Field(
        SecretStr(""), description="bearer token for /lupine/v1 and for load and unload"
    )
    run_dir: Path | None = Field(
        None, description="private folder of one running gateway; made when absent"
    )


def load(
    environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> tuple[Settings, dict[str, str]]:
    """The effective settings, and for each `section.key` where its value came from.

    Args:
        environment: instead of the process's own.
        folder: where `lupine.toml` may lie, instead of the working directory.

    Raises:
        ConfigurationError: the file is no TOML, a key is unknown, or a value cannot be used.
    """
    environment = os.environ if environment is None else environment
    tree: dict[str, Any] = {}
    origins = dict.fromkeys(described(), "default")
    path = (folder or Path.cwd()) / FILE
    if path.is_file():
        try:
            tree = tomllib.loads(path.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{FILE}: {error}") from None
        origins |= dict.fromkeys(_dotted(tree), FILE)
    for name, value in environment.items():
        key = name.removeprefix(PREFIX).lower().replace("__", ".")
        if not name.startswith(PREFIX):
            continue
        if key not in origins:
            raise ConfigurationError(
                f"the environment variable {name} is no setting: "
                f"`lupine config show` lists them all"
            )
        section, _, leaf = key.rpartition(".")
        branch = tree.setdefault(section, {}) if section else tree
        if not isinstance(branch, dict):
            raise ConfigurationError(f"{FILE}: {section} is a section, written [{section}]")
        branch[leaf] = value
        origins[key] = f"environment {name}"
    try:
        return Settings.model_validate(tree), origins
    except ValidationError as error:
        raise ConfigurationError(
            "; ".join(_complaint(e, origins) for e in error.errors())
        ) from None


def _dotted(tree: Mapping[str, Any]) -> list[str]:
    keys = []
    for name, value in tree.items():
        keys += [f"{name}.{leaf}" for leaf in value] if isinstance(value, dict) else [name]
    return keys


def _complaint(error: Any, origins: Mapping[str, str]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{FILE}: {key} is no setting: `lupine config show` lists them all"
    secret = key == "admin_key"
    shown = "" if secret else f" is {error['input']!r:.100}"
    return f"{key}{shown} ({origins.get(key, 'unknown')}): {error['msg']}"


def variable(key: str) -> str:
    """The environment variable of a `section.key`."""
    return PREFIX + key.upper().replace(".", "__")


def described() -> dict[str, FieldInfo]:
    """Each `section.key` with its default and description, in the order of the model."""
    found: dict[str, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            found |= {f"{name}.{leaf}": inner for leaf, inner in section.model_fields.items()}
        else:
            found[name] = field
    return found


def value(settings: Settings, key: str) -> Any:
    """The value of a `section.key`."""
    return functools.reduce(getattr, key.split("."), settings)


def exported(settings: Settings) -> dict[str, str]:
    """The environment in which another process, wherever it runs, reads these same settings."""
    found = {}
    for key in described():
        item = value(settings, key)
        if isinstance(item, SecretStr):
            item = item.get_secret_value()
        if item is not None:
            found[variable(key)] = str(int(item) if isinstance(item, ByteSize) else item)
    return found
