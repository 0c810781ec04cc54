"""The config.pbtxt of a synced model: generated, or shipped with it and held to a short list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from service.errors import ConfigurationError
from service.registry.refused import RefusedVersionError
from service.repository import config as model_config

_HEADER = "# Written by `lupine sync` out of the registry; what is changed here is lost.\n"
_BACKENDS = {"model.onnx": "onnxruntime", "model.plan": "tensorrt"}
_PLATFORMS = ("", "onnxruntime_onnx", "tensorrt_plan")
_POLICY = ("batching", "default_timeout_ms", "priority", "slo_p99_ms")
_SIZE_TAG = "lupine.max_batch_size"
_MOST_DIGITS = 5
_ALLOWED = frozenset(
    {
        "name", "platform", "backend", "max_batch_size", "input", "output", "instance_group",
        "dynamic_batching", "parameters", "version_policy",
    }
)  # fmt: skip
_ALLOWED_PARAMETERS = frozenset(
    {*(f"lupine.{key}" for key in _POLICY), "intra_op_thread_count", "inter_op_thread_count"}
)
# What must be alike for versions to share a configuration.
_SIGNATURE = ("max_batch_size", "input", "output", "backend", "platform")


def wanted(
    name: str, model_file: str, tags: Mapping[str, str], shipped: Path | None, default_rows: int
) -> dict[str, Any]:
    """What is known of a model's configuration before its graph is read.

    Args:
        name: of the model.
        model_file: of the version.
        tags: of the version: `lupine.max_batch_size`, and the policy (`lupine.slo_p99_ms` …).
        shipped: its own config.pbtxt, if it has one.
        default_rows: the largest batch of a graph that can batch, where nothing says otherwise.

    Raises:
        RefusedVersionError: the shipped one asks for what is not allowed, or a tag is no number.
    """
    config: dict[str, Any] = {"name": name}
    if shipped is not None:
        config = _shipped(name, shipped)
    if model_file == "model.plan" and not (config.get("input") and config.get("output")):
        raise RefusedVersionError(
            "a plan needs its config.pbtxt, with inputs and outputs: it cannot be read here"
        )
    config["backend"] = _BACKENDS[model_file]
    config["platform"] = ""
    size = tags.get(_SIZE_TAG, "")
    if size and not (size.isascii() and size.isdigit() and len(size) <= _MOST_DIGITS):
        raise RefusedVersionError(f"the tag {_SIZE_TAG} is {size!r:.60}: a whole number is right")
    if "max_batch_size" not in config or size:
        config["max_batch_size"] = int(size) if size else default_rows
    given = {f"lupine.{key}": tags[f"lupine.{key}"] for key in _POLICY if f"lupine.{key}" in tags}
    config["parameters"] = {
        **config.get("parameters", {}),
        **{key: {"string_value": value} for key, value in given.items()},
    }
    return config


def text(config: Mapping[str, Any], versions: Iterable[str]) -> str:
    """The text of a config.pbtxt that loads exactly these versions.

    Raises:
        RefusedVersionError: a part of it is none of Triton's, or a policy cannot be used.
    """
    whole = {
        **config,
        "version_policy": {"specific": {"versions": sorted(int(one) for one in versions)}},
    }
    try:
        message = model_config.fill(model_config_pb2.ModelConfig(), whole)
        model_config.servable(model_config.to_json(message), "1")
    except (ConfigurationError, ValueError) as error:
        raise RefusedVersionError(f"its configuration cannot be used: {error}") from None
    return _HEADER + str(text_format.MessageToString(message))


def signature_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """How a version differs from those that are served under the same configuration; or empty."""
    for key in _SIGNATURE:
        if _essence(old.get(key)) != _essence(new.get(key)):
            return (
                f"its {key} is {_short(new.get(key))}, that of the served versions is "
                f"{_short(old.get(key))}: a changed signature needs a model of its own name"
            )
    return ""


def _shipped(name: str, path: Path) -> dict[str, Any]:
    message = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(path.read_text(), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise RefusedVersionError(f"its {path.name} cannot be read: {error}") from None
    set_fields = {field.name for field, _ in message.ListFields()}
    if strange := sorted(set_fields - _ALLOWED):
        raise RefusedVersionError(
            f"its {path.name} sets {strange[0]!r}: allowed are {', '.join(sorted(_ALLOWED))}"
        )
    if message.backend not in ("", *_BACKENDS.values()) or message.platform not in _PLATFORMS:
        named = message.backend or message.platform
        raise RefusedVersionError(
            f"its {path.name} names {named!r:.60}: only onnxruntime and tensorrt are served"
        )
    if strange := sorted(set(message.parameters) - _ALLOWED_PARAMETERS):
        raise RefusedVersionError(f"its {path.name} sets the parameter {strange[0]!r:.60}")
    if message.name not in ("", name):
        raise RefusedVersionError(f"its {path.name} is of the model {message.name!r:.60}")
    message.name = name
    return model_config.to_json(message)


def _essence(value: Any) -> Any:
    """What counts of a part: names, types and shapes, not how a reader writes defaults."""
    if isinstance(value, list):
        return [
            {key: one[key] for key in ("name", "data_type", "dims") if key in one} for one in value
        ]
    return value or None


def _short(value: Any) -> str:
    found = _essence(value)
    if isinstance(found, list):
        parts = [f"{one['name']} {one['data_type']} {one.get('dims', [])}" for one in found]
        return ", ".join(parts)[:300]
    return str(found)
