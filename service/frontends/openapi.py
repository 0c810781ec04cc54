"""What the HTTP wire takes and gives, as an OpenAPI 3.1 document.

Written by hand, beside the code that it describes: `tests/protocol` asks the gateway whatever the
document allows, and holds every answer against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service import __version__
from service.frontends.openapi_schemas import SCHEMAS, Json, schema

_OIP = "Open Inference Protocol"
_REPOSITORY = "Model repository"
_HEALTH = "Health and metrics"
_REGISTRY = "Registry sync"
_ADMIN: Json = {"security": [{"adminKey": []}, {}]}


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


_REFUSALS = {
    400: ("Invalid", "malformed, or of a wrong shape, datatype, name or size"),
    401: ("Unauthenticated", "the admin key is missing or another one"),
    403: ("Forbidden", "this peer may not do this, or nobody may"),
    404: ("NotFound", "no such model, version or alias"),
    408: ("TooSlow", "the head or the body paused for too long"),
    413: ("TooLarge", "the body is over the limit"),
    429: ("Shed", "refused to protect the others: try again after `Retry-After`"),
    431: ("HeadTooLarge", "the head is over the limit"),
    500: ("EngineFailed", "the engine failed on this input"),
    501: ("NotOffered", "the protocol knows it, this gateway does not offer it"),
    503: ("Unavailable", "not loaded, draining, or the engine is away"),
    504: ("Late", "the deadline passed"),
}
_RETRIED = (429, 503)
_BODY = (408, 413, 429)  # whatever reads one


def _refusal(code: int, text: str) -> Json:
    found: Json = {
        "description": text,
        "content": {"application/json": {"schema": schema("Error")}},
    }
    if code in _RETRIED:
        found["headers"] = {
            "Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}
        }
    return found


def _header(name: str, description: str, **schema: Any) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": schema}


_HEADERS: Json = {
    "RequestId": _header("X-Request-Id", "echoed; made where absent", type="string", maxLength=128),
    "Timeout": _header(
        "X-Request-Timeout-Ms",
        "how long the caller waits; of this and the parameter `timeout` the earlier holds",
        type="number",
        exclusiveMinimum=0,
        maximum=86_400_000,
    ),
    "JsonLength": _header(
        "Inference-Header-Content-Length",
        "bytes of JSON at the start of the body; binary tensors follow",
        type="integer",
        minimum=0,
    ),
    "Encoding": _header(
        "Content-Encoding", "of the body", enum=["gzip", "deflate", "identity"], type="string"
    ),
}
_PATH: Json = {
    "Model": {"name": "model", "description": "a model's name, or `name@alias`"},
    "Version": {"name": "version", "description": "a version's number"},
}


def _operation(
    tag: str,
    summary: str,
    answer: Json | None,
    refusals: Sequence[int],
    *,
    headers: Sequence[str] = (),
    **more: Any,
) -> Json:
    ok: Json = {"description": "as asked"}
    if answer is not None:
        ok["content"] = answer if "application/json" in answer else _json(answer)
    return {
        "tags": [tag],
        "summary": summary,
        "parameters": [_ref("parameters", name) for name in ("RequestId", *headers)],
        "responses": {"200": ok}
        | {str(code): _ref("responses", _REFUSALS[code][0]) for code in sorted({*refusals, 431})},
        **more,
    }


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _ready(summary: str, refusals: Sequence[int]) -> Json:
    found = _operation(_OIP, summary, schema("Ready"), refusals)
    found["responses"]["503"] = {
        "description": "not ready",
        "content": _json({"anyOf": [schema("Ready"), schema("Error")]}),
    }
    return found


def _of_a_model() -> dict[str, Json]:
    """What is below `/v2/models/{model}` and again below its `/versions/{version}`."""
    asked = (400, 404, 503)
    binary = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    infer = _operation(
        _OIP,
        "Infer",
        _json(schema("InferResponse")) | {"application/octet-stream": binary},
        (*asked, *_BODY, 500, 501, 504),
        headers=("Timeout", "JsonLength", "Encoding"),
        requestBody={
            "required": True,
            "content": _json(schema("InferRequest")) | {"application/octet-stream": binary},
        },
    )
    return {
        "": {"get": _operation(_OIP, "Metadata", schema("ModelMetadata"), asked)},
        "/ready": {"get": _ready("Whether it is loaded", (400, 404))},
        "/config": {"get": _operation(_OIP, "Configuration", schema("ModelConfig"), asked)},
        "/stats": {"get": _operation(_OIP, "Statistics", schema("Statistics"), asked)},
        "/infer": {"post": infer},
    }


def _control(summary: str) -> Json:
    return _operation(
        _REPOSITORY,
        summary,
        None,
        (400, 401, 403, 404, *_BODY, 500, 501, 503, 504),
        headers=("Encoding",),
        requestBody={"content": _json(schema("ControlRequest"))},
        **_ADMIN,
    )


def _of_the_sync() -> Json:
    status, denied = schema("SyncStatus"), (401, 403, 500)
    roll_back = _operation(
        _REGISTRY,
        "Let an alias name the version that it named before",
        schema("Report"),
        (400, 404, *_BODY, 503, *denied),
        headers=("Encoding",),
        requestBody={"required": True, "content": _json(schema("RollbackRequest"))},
        **_ADMIN,
    )
    seen = _operation(_REGISTRY, "What is synced, routed and refused", status, denied, **_ADMIN)
    look = _operation(_REGISTRY, "Look at the registry now", status, (503, *denied), **_ADMIN)
    return {
        "/lupine/v1/sync": {"get": seen, "post": look},
        "/lupine/v1/rollback": {"post": roll_back},
    }


def _paths() -> Json:
    index = _operation(
        _REPOSITORY,
        "Every version in the repository, with its state",
        schema("Index"),
        (400, *_BODY, 503),
        headers=("Encoding",),
        requestBody={"content": _json(schema("IndexRequest"))},
    )
    paths: Json = {
        "/v2": {"get": _operation(_OIP, "Name, version, extensions", schema("Server"), ())},
        "/v2/health/live": {"get": _operation(_OIP, "Liveness", schema("Live"), ())},
        "/v2/health/ready": {"get": _ready("Whether an inference has a chance", ())},
        "/v2/models/stats": {
            "get": _operation(_OIP, "Statistics of all models", schema("Statistics"), (503,))
        },
        "/v2/repository/index": {"post": index},
    }
    model = [_ref("parameters", "Model")]
    for verb in ("load", "unload"):
        path = f"/v2/repository/models/{{model}}/{verb}"
        paths[path] = {"parameters": model, "post": _control(f"{verb.capitalize()} a model")}
    for below, item in _of_a_model().items():
        paths[f"/v2/models/{{model}}{below}"] = {"parameters": model} | item
        paths[f"/v2/models/{{model}}/versions/{{version}}{below}"] = {
            "parameters": [*model, _ref("parameters", "Version")]
        } | item
    return paths | _of_the_sync()


_PLAIN = {"200": {"description": "yes"}, "503": {"description": "no"}}
_AROUND: Json = {
    "/livez": {"get": {"tags": [_HEALTH], "summary": "Liveness", "responses": _PLAIN}},
    "/readyz": {"get": {"tags": [_HEALTH], "summary": "Readiness", "responses": _PLAIN}},
    "/metrics": {
        "get": {
            "tags": [_HEALTH],
            "summary": "Prometheus metrics of all workers, and Triton's own",
            "responses": {"200": {"description": "the text format", "content": {"text/plain": {}}}},
        }
    },
}


def document(typed: Mapping[str, Any] | None = None) -> Json:
    """The whole document.

    Args:
        typed: BentoML's own document, whose typed task APIs join ours.
    """
    typed = typed or {}
    # BentoML knows neither our limits nor what the data plane behind a task refuses.
    ours = {str(code): _ref("responses", _REFUSALS[code][0]) for code in (*_BODY, 431, 503, 504)}
    tasks = {
        path: {verb: ask | {"responses": ours | ask["responses"]} for verb, ask in item.items()}
        for path, item in typed.get("paths", {}).items()
        if not any("Infrastructure" in ask.get("tags", ()) for ask in item.values())
    }
    path = {
        name: {"in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} | item
        for name, item in _PATH.items()
    }
    refusals = {name: _refusal(code, text) for code, (name, text) in _REFUSALS.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lupine",
            "version": __version__,
            "description": "Models over the Open Inference Protocol v2, and typed task APIs.",
        },
        "paths": tasks | _paths() | _AROUND,
        "components": {
            "schemas": typed.get("components", {}).get("schemas", {}) | SCHEMAS,
            "responses": refusals,
            "parameters": _HEADERS | path,
            "securitySchemes": {"adminKey": {"type": "http", "scheme": "bearer"}},
        },
    }
