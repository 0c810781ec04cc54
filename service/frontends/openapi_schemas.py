"""The bodies of the HTTP wire as JSON Schema, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.protocol.datatypes import Datatype

Json = dict[str, Any]

_PARAMETERS: Json = {
    "type": "object",
    "additionalProperties": {"type": ["boolean", "integer", "number", "string", "null"]},
}
_NAME: Json = {"type": "string", "minLength": 1, "maxLength": 256}
_DATATYPE: Json = {"type": "string", "enum": [datatype.name for datatype in Datatype]}
_SHAPE: Json = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    "maxItems": 32,
}
_DATA: Json = {"type": "array", "description": "flat in row-major order, or nested as the shape"}


def _object(required: Sequence[str] = (), *, closed: bool = False, **properties: Json) -> Json:
    found: Json = {"type": "object", "properties": properties}
    if required:
        found["required"] = list(required)
    if closed:
        found["additionalProperties"] = False
    return found


def schema(name: str) -> Json:
    """A reference to one of them."""
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


SCHEMAS: Json = {
    "Error": _object(("error",), closed=True, error={"type": "string", "minLength": 1}),
    "Server": _object(
        ("name", "version", "extensions"),
        name={"const": "lupine"},
        version={"type": "string"},
        extensions=_list({"type": "string"}),
    ),
    "Live": _object(("live",), live={"const": True}),
    "Ready": _object(("ready",), ready={"type": "boolean"}),
    "TensorMetadata": _object(
        ("name", "datatype", "shape"),
        name={"type": "string"},
        datatype=_DATATYPE,
        shape=_list({"type": "integer", "minimum": -1}),
    ),
    "ModelMetadata": _object(
        ("name", "versions", "platform", "inputs", "outputs"),
        name={"type": "string"},
        versions=_list({"type": "string"}),
        platform={"type": "string"},
        inputs=_list(schema("TensorMetadata")),
        outputs=_list(schema("TensorMetadata")),
    ),
    "ModelConfig": {
        "type": "object",
        "description": "Triton's ModelConfig (model_config.proto) as JSON",
        "required": ["name"],
    },
    "Statistics": _object(
        ("model_stats",),
        model_stats=_list(
            _object(
                ("name", "version", "inference_count", "execution_count", "inference_stats"),
                name={"type": "string"},
                version={"type": "string"},
            )
        ),
    ),
    "IndexRequest": _object(ready={"type": "boolean", "description": "only what is READY"}),
    "Index": _list(
        _object(
            ("name",),
            name={"type": "string"},
            version={"type": "string"},
            state={"enum": ["READY", "UNAVAILABLE", "LOADING", "UNLOADING", "UNKNOWN"]},
            reason={"type": "string"},
        )
    ),
    "ControlRequest": _object(
        parameters={
            "type": "object",
            "description": "`config` and `file:*` are refused: models come from the repository",
        }
    ),
    "SyncStatus": _object(
        ("models", "refused", "registry", "looked_at"),
        models={"type": "object", "description": "by name: versions, routes, canary, shadow"},
        refused={"type": "object", "description": "by <model>/<version>: why it is not served"},
        registry={"type": "string", "description": "what is wrong with the registry"},
        looked_at={"type": ["number", "null"], "description": "seconds since 1970"},
    ),
    "RollbackRequest": _object(
        ("model",),
        closed=True,
        model={"type": "string"},
        alias={"type": "string", "default": "champion"},
    ),
    "Report": _object(
        ("done", "wrong"), done=_list({"type": "string"}), wrong=_list({"type": "string"})
    ),
    "InferInput": _object(
        ("name", "shape", "datatype"),
        name=_NAME,
        shape=_SHAPE,
        datatype=_DATATYPE,
        data=_DATA,
        parameters=_PARAMETERS | {"description": "`binary_data_size`: bytes behind the JSON"},
    ),
    "InferRequest": _object(
        ("inputs",),
        id={"type": "string", "maxLength": 1024},
        inputs=_list(schema("InferInput")),
        outputs=_list(
            _object(
                ("name",),
                name=_NAME,
                parameters=_PARAMETERS | {"description": "`binary_data`: true or false"},
            )
        ),
        parameters=_PARAMETERS
        | {"description": "`timeout` (µs), `priority`, `binary_data_output`, and the model's own"},
    ),
    "InferResponse": _object(
        ("model_name", "model_version", "outputs"),
        model_name={"type": "string"},
        model_version={"type": "string"},
        id={"type": "string"},
        parameters=_PARAMETERS,
        outputs=_list(
            _object(
                ("name", "datatype", "shape"),
                name={"type": "string"},
                datatype=_DATATYPE,
                shape=_SHAPE,
                data=_DATA,
                parameters=_PARAMETERS,
            )
        ),
    ),
}
