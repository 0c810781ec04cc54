"""config.pbtxt as types: Triton's ModelConfig, its JSON form, and the servable that it describes.

Source: Triton's model_config.proto, as `tritonclient` ships it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from tritonclient.grpc import model_config_pb2

from service.errors import ConfigurationError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Policy, Servable, TensorSpec

CONFIG_FILE = "config.pbtxt"
_MAX_CONFIG_BYTES = 1 << 20

_DATATYPES = {f"TYPE_{d.name}": d for d in Datatype} | {"TYPE_STRING": Datatype.BYTES}
_BATCHING = ("gateway", "triton", "off")
_MAX_PRIORITY = 1 << 31
_INT64 = (
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT64,
)


def read(folder: Path) -> dict[str, Any]:
    """A model's config.pbtxt as JSON; an empty one where the file is missing.

    Raises:
        ConfigurationError: the file is too large, or is no ModelConfig.
    """
    path = folder / CONFIG_FILE
    config = model_config_pb2.ModelConfig()
    if path.is_file():
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ConfigurationError(f"{CONFIG_FILE} of {folder.name!r} is over 1 MiB")
        try:
            text_format.Parse(path.read_text(), config)
        except (text_format.ParseError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{CONFIG_FILE} of {folder.name!r}: {error}") from None
    if config.name and config.name != folder.name:
        raise ConfigurationError(
            f"{CONFIG_FILE} names the model {config.name!r}, its folder is {folder.name!r}"
        )
    config.name = folder.name
    return to_json(config)


def fill(message: Message, found: Mapping[str, Any]) -> Any:
    """`message`, such as an empty ModelConfig or ModelStatistics, with what `to_json` gave."""
    return json_format.ParseDict(dict(found), message)


def to_json(config: Message) -> dict[str, Any]:
    """A ModelConfig as Triton's HTTP gives it: defaults included, 64-bit numbers as numbers."""
    found: dict[str, Any] = json_format.MessageToDict(
        config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    _numbers(config.DESCRIPTOR, found)
    return found


def _numbers(descriptor: Any, value: dict[str, Any]) -> None:
    """Undo the JSON mapping of protobuf, which writes 64-bit numbers as strings."""
    for field in descriptor.fields:
        if field.name not in value:
            continue
        item = value[field.name]
        if field.cpp_type in _INT64:
            value[field.name] = [int(i) for i in item] if isinstance(item, list) else int(item)
        elif field.message_type is not None:
            nested = field.message_type
            if nested.GetOptions().map_entry:
                inner = nested.fields_by_name["value"].message_type
                for entry in item.values() if inner is not None else ():
                    _numbers(inner, entry)
            else:
                for entry in item if isinstance(item, list) else [item]:
                    _numbers(nested, entry)


def servable(config: Mapping[str, Any], version: str) -> Servable:
    """One version of the model that a complete config describes.

    Raises:
        ConfigurationError: a datatype, the batch size or a `lupine.*` parameter cannot be used.
    """
    size = int(config.get("max_batch_size", 0))
    if size < 0:
        raise ConfigurationError(
            f"model {config['name']!r}: max_batch_size is {size}: at least 0 is expected"
        )
    return Servable(
        name=config["name"],
        version=version,
        platform=config.get("platform") or config.get("backend") or "",
        max_batch_size=size,
        inputs=_specs(config, "input", batched=size > 0),
        outputs=_specs(config, "output", batched=size > 0),
        instances=_instances(config),
        decoupled=bool(config.get("model_transaction_policy", {}).get("decoupled")),
        policy=_policy(config),
        config=config,
    )


def _instances(config: Mapping[str, Any]) -> int:
    """How many copies Triton runs. Those on GPUs are counted for each of them."""
    groups = config.get("instance_group", ())
    return (
        sum(
            int(group.get("count", 1)) * max(1, len(group.get("gpus", ())))
            for group in groups
            if not group.get("passive")
        )
        or 1
    )


def _specs(config: Mapping[str, Any], side: str, *, batched: bool) -> dict[str, TensorSpec]:
    specs = {}
    for item in config.get(side, ()):
        datatype = _DATATYPES.get(item["data_type"])
        if datatype is None:
            raise ConfigurationError(
                f"{side} {item['name']!r} of model {config['name']!r} has the datatype "
                f"{item['data_type']}, which the protocol does not know"
            )
        dims = tuple(int(size) for size in item["dims"])
        specs[item["name"]] = TensorSpec(
            name=item["name"],
            datatype=datatype,
            shape=(-1, *dims) if batched else dims,
            optional=bool(item.get("optional", False)),
        )
    return specs


def _policy(config: Mapping[str, Any]) -> Policy:
    given = {
        key.removeprefix("lupine."): value.get("string_value", "")
        for key, value in config.get("parameters", {}).items()
        if key.startswith("lupine.")
    }
    default = Policy()
    batching = given.get("batching", _default_batching(config))
    if batching not in _BATCHING:
        raise ConfigurationError(
            f"model {config['name']!r}: lupine.batching is {batching!r}: "
            f"one of {', '.join(_BATCHING)} is expected"
        )
    return Policy(
        batching=batching,
        default_timeout=_number(
            config, given, "default_timeout_ms", float, default.default_timeout * 1000
        )
        / 1000,
        priority=_number(config, given, "priority", int, default.priority),
        slo_p99=_seconds(_number(config, given, "slo_p99_ms", float, None)),
    )


def _default_batching(config: Mapping[str, Any]) -> str:
    """Requests of a sequence or an ensemble pass through as they are; Triton keeps their state."""
    stateful = "sequence_batching" in config or "ensemble_scheduling" in config
    return "off" if stateful else Policy().batching


def _number(
    config: Mapping[str, Any],
    given: Mapping[str, str],
    key: str,
    kind: Callable[[str], float],
    default: float | None,
) -> Any:
    if key not in given:
        return default
    try:
        value = kind(given[key])
    except ValueError:
        value = math.nan
    if not 0 < value < _MAX_PRIORITY:
        raise ConfigurationError(
            f"model {config['name']!r}: lupine.{key} is {given[key]!r:.60}: "
            "a number above 0 is expected"
        )
    return value


def _seconds(milliseconds: float | None) -> float | None:
    """As its decimals say: 33.3 ms are 0.0333 s, and no 0.033299999999999996."""
    return None if milliseconds is None else round(milliseconds / 1000, 9)


def chosen_versions(config: Mapping[str, Any], available: list[int]) -> list[int]:
    """The versions that the config's `version_policy` selects; the latest where it says nothing.

    Raises:
        ConfigurationError: a specific version is not there.
    """
    policy = config.get("version_policy", {})
    if "all" in policy:
        return available
    if "specific" in policy:
        wanted = [int(v) for v in policy["specific"].get("versions", ())]
        if missing := sorted(set(wanted) - set(available)):
            raise ConfigurationError(
                f"model {config['name']!r}: version_policy asks for {missing}, there is {available}"
            )
        return sorted(set(wanted))
    count = int(policy.get("latest", {}).get("num_versions", 1)) or 1
    return available[-count:]
