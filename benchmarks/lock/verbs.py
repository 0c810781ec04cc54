"""The verbs that change anything, in every spelling, and what who may is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from benchmarks.lock.callers import KEY
from benchmarks.lock.kinds import RPCS, SERVICE, Kind

ASLEEP = "asleep"
"""A model that is not loaded; loading it shows."""

AWAKE = "awake"
"""A model that is loaded; unloading it shows."""

LOADS = "load, unload"
"""The group of the plain ones."""

_LOADS = (("load", ASLEEP), ("unload", AWAKE))
_MODELS = "/v2/repository/models"


class Fate(Enum):
    """What a verb is answered, on either wire."""

    DONE = "done"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    INVALID = "invalid"
    NOT_FOUND = "not found"
    NOT_ALLOWED = "not allowed"
    NOT_OFFERED = "not offered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One request that would change something.

    Args:
        wire: http or grpc.
        group: what kind of verb, a row of the table.
        target: the request's target, or the RPC.
        model: what it would change: `asleep` by a load, `awake` by an unload; empty: neither.
        body: JSON, or the message.
        method: of HTTP.
        header: one more, of HTTP.
        permitted: what it is answered to who may.
        gated: whether the lock decides first: else everybody is answered the same.
        behind: whether only the whole gateway knows it, with BentoML's own application.
    """

    wire: str
    group: str
    target: str
    model: str = ASLEEP
    body: bytes = b""
    method: str = "POST"
    header: tuple[str, str] | None = None
    permitted: Fate = Fate.DONE
    gated: bool = True
    behind: bool = False

    def __str__(self) -> str:
        """As a fault names it."""
        extra = f" {self.body[:60]!r}" if self.body and self.wire == "http" else ""
        return f"{self.wire} {self.method} {self.target}{extra}"


def plain() -> Iterator[Verb]:
    """Load and unload, as every client says them."""
    for verb, model in _LOADS:
        yield Verb(wire="http", group=LOADS, target=f"{_MODELS}/{model}/{verb}", model=model)
        yield _rpc(LOADS, verb, _message(verb, model))


def verbs() -> Iterator[Verb]:
    """Everything else that would change something."""
    yield from _spelt()
    yield from _other_methods()
    yield from _written()
    yield from _not_offered()
    yield from _of_the_sync()
    yield from _elsewhere()


def _message(verb: str, model: str, **parameters: Any) -> Any:
    kind = getattr(pb, f"RepositoryModel{verb.capitalize()}Request")
    message = kind(model_name=model)
    for name, value in parameters.items():
        message.parameters[name].CopyFrom(pb.ModelRepositoryParameter(**value))
    return message


def _rpc(group: str, verb: str, message: Any, permitted: Fate = Fate.DONE) -> Verb:
    target = f"{SERVICE}/RepositoryModel{verb.capitalize()}"
    return Verb(
        wire="grpc",
        group=group,
        target=target,
        model=message.model_name,
        body=message.SerializeToString(),
        permitted=permitted,
    )


def _spelt() -> Iterator[Verb]:
    group = "spelt otherwise"
    for verb, model in _LOADS:
        path = f"{_MODELS}/{model}/{verb}"
        for target in (
            f"{path}/",
            f"{_MODELS}/%61{model[1:]}/{verb}",
            f"{_MODELS}/{model}/{verb[:-1]}%{ord(verb[-1]):x}",
            f"/v2/repositor%79/models/{model}/{verb}",
            f"/%762{path[3:]}",
            f"/v2%2Fx{path[3:]}",
            f"{path}?",
            f"{path}?authorization=Bearer%20{KEY}&access_token={KEY}&admin_key={KEY}",
            f"http://127.0.0.1{path}",
            f"http://admin:{KEY}@localhost{path}",
        ):
            yield Verb(wire="http", group=group, target=target, model=model)
        for body in (b"{}", b'{"parameters": {}}', b'{"parameters": {"unload_dependents": false}}'):
            yield Verb(wire="http", group=group, target=path, model=model, body=body)
        for target, behind in (
            (f"{path}//", False),
            (f"{path}%2F", False),
            (f"{path};x=1", False),
            (f"{path}%00", False),
            (f"{path}%20", False),
            (f"{_MODELS}/{model}%2F{verb}", False),
            (f"{_MODELS}/{model}/{verb.upper()}", False),
            (f"{_MODELS}/{model}/versions/1/{verb}", False),
            (f"{_MODELS}//{model}/{verb}", False),
            (f"/v2//repository/models/{model}/{verb}", False),
            (f"/v2/x/..{path[3:]}", False),
            (f"/v2/models/{model}/{verb}", False),
            (f"/v2/repository/{model}/{verb}", False),
            (f"/v2/repository/repositories/default/models/{model}/{verb}", False),
            (f"/{path}", False),
            (f"/v1/..{path}", True),
            (f"/V2{path[3:]}", True),
            (f"/v2%2f..{path}", False),
            (f"/x%2f..{path}", True),
        ):
            found = Fate.NOT_FOUND
            yield Verb(
                wire="http", group=group, target=target, permitted=found, gated=False, behind=behind
            )
    for target in ("RepositoryModelLoad/", "repositorymodelload", "/RepositoryModelLoad"):
        body = _message("load", ASLEEP).SerializeToString()
        yield Verb(
            wire="grpc",
            group=group,
            target=f"{SERVICE}/{target}",
            body=body,
            permitted=Fate.NOT_OFFERED,
            gated=False,
        )


def _other_methods() -> Iterator[Verb]:
    for verb, model in _LOADS:
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LOCK"):
            yield Verb(
                wire="http",
                group="other methods",
                target=f"{_MODELS}/{model}/{verb}",
                method=method,
                header=("x-http-method-override", "POST"),
                permitted=Fate.NOT_ALLOWED,
                gated=False,
            )


def _written() -> Iterator[Verb]:
    """Parameters that would write into the server: nobody may, with whatever key."""
    group = "config and file:*"
    values = [
        *(("config", value) for value in ("{}", "", 1, None, ["e30="])),
        *(("file:1/model.onnx", value) for value in ("e30=", None)),
        *((f"file:{path}", "e30=") for path in ("", "../../x", "/etc/passwd")),
    ]
    fields: list[tuple[str, dict[str, Any]]] = [
        ("config", {"string_param": "{}"}),
        ("config", {"int64_param": 1}),
        ("config", {}),
        *((f"file:{path}", {"bytes_param": b"\0"}) for path in ("", "../../x", "1/model.onnx")),
        ("file:1/model.onnx", {}),
    ]
    for verb, model in _LOADS:
        for name, value in values:
            yield Verb(
                wire="http",
                group=group,
                target=f"{_MODELS}/{model}/{verb}",
                body=json.dumps({"parameters": {name: value}}).encode(),
                permitted=Fate.FORBIDDEN,
            )
        for name, field in fields:
            yield _rpc(group, verb, _message(verb, model, **{name: field}), Fate.FORBIDDEN)


def _not_offered() -> Iterator[Verb]:
    group = "Triton's trace, log, memory"
    for name, kind in RPCS.items():
        if kind is Kind.NEVER:
            yield Verb(
                wire="grpc", group=group, target=name, permitted=Fate.NOT_OFFERED, gated=False
            )
    regions = [
        f"/v2/{kind}sharedmemory{below}"
        for kind in ("system", "cuda")
        for below in ("/region/r/register", "/region/r/unregister", "/unregister", "/status")
    ]
    for target in (*regions, "/v2/trace/setting", "/v2/logging", "/v2/logging/"):
        for method in ("POST", "GET", "PUT"):
            yield Verb(
                wire="http",
                group=group,
                target=target,
                method=method,
                permitted=Fate.NOT_OFFERED,
                gated=False,
            )
    target = f"/v2/models/{AWAKE}/trace/setting"
    yield Verb(wire="http", group=group, target=target, permitted=Fate.NOT_FOUND, gated=False)


def _of_the_sync() -> Iterator[Verb]:
    """And its webhook, which no key opens; here it has no secret."""
    offered: dict[str, dict[str, tuple[Fate, bool]]] = {
        "sync": {"GET": (Fate.DONE, True), "POST": (Fate.DONE, True)},
        "routes": {"POST": (Fate.DONE, True)},
        "rollback": {"POST": (Fate.INVALID, True)},  # it names no model
        "webhooks/mlflow": {"POST": (Fate.FORBIDDEN, False)},
    }
    for below, methods in offered.items():
        for method in ("POST", "PUT", "DELETE", "GET"):
            permitted, gated = methods.get(method, (Fate.NOT_ALLOWED, False))
            yield Verb(
                wire="http",
                group="/lupine/v1",
                target=f"/lupine/v1/{below}",
                model="",
                method=method,
                permitted=permitted,
                gated=gated,
            )


def _elsewhere() -> Iterator[Verb]:
    """What is not there yet, and what BentoML would offer if a task asked for it."""
    for below in (
        "", "/models", f"/models/{AWAKE}/pin", f"/models/{AWAKE}/unpin", "/release", "/capture",
    ):  # fmt: skip
        for method in ("POST", "PUT", "DELETE", "GET"):
            yield _beside("/lupine/v1", f"/lupine/v1{below}", method, Fate.NOT_FOUND)
    for below in ("submit", "retry", "cancel", "status", "get"):
        for method in ("POST", "PUT", "GET"):
            yield _beside("BentoML's own", f"/identify/{below}", method, Fate.NOT_FOUND)
    for path in ("/livez", "/healthz", "/readyz", "/schema.json", "/docs", "/openapi.json", "/"):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            yield _beside("BentoML's own", path, method, Fate.NOT_ALLOWED)


def _beside(group: str, target: str, method: str, permitted: Fate) -> Verb:
    return Verb(
        wire="http",
        group=group,
        target=target,
        method=method,
        permitted=permitted,
        gated=False,
        behind=True,
    )
