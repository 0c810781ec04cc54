"""What is tested on what: the gateway as it shows itself, and the host of the generator."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from benchmarks.harness.record import host
from benchmarks.report.document import Environment, Host, Model
from benchmarks.sla import Sla, Target

_SECONDS = 5.0
_PACKAGES = ("locust", "gevent", "geventhttpclient", "grpcio", "hdrhistogram", "numpy", "scipy")
_SERVER_PACKAGES = ("bentoml", "onnxruntime", "uvicorn", "uvloop", "tritonclient")
_REPOSITORY = Path(__file__).parents[1] / "triton_repo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A gateway before the load.

    Args:
        url: of its HTTP.
        grpc_url: of its gRPC.
        problem: why it is not one that can be asked; empty where it is.
        dead: nobody answered at all.
        server: what `/v2` says.
        engine: what runs the models, as far as the metrics tell.
        backend: the same in full.
        models: those of the SLA.
        began: ISO 8601, UTC.
    """

    url: str
    grpc_url: str
    problem: str
    dead: bool
    server: dict[str, Any]
    engine: str
    backend: str
    models: tuple[Model, ...]
    began: str

    def line(self) -> str:
        """For whoever watches."""
        if self.problem:
            return f"{self.url} — {self.problem}"
        names = ", ".join(f"{model.name} {model.version}" for model in self.models)
        name = f"{self.server.get('name', 'a server')} {self.server.get('version', '')}".strip()
        return f"{names} at {self.url}, by {name}, {self.backend}"

    def environment(self) -> Environment:
        """For the report."""
        return Environment(
            host=Host(**host()),
            packages=_versions((*_PACKAGES, *_SERVER_PACKAGES)),
            models=self.models,
            engine=self.engine,
            backend=self.backend,
            url=self.url,
            grpc_url=self.grpc_url,
            began=self.began,
            command=("lupine", "bench", *_arguments(sys.argv[1:])),
            gateway=self.server,
        )


def look(sla: Sla, url: str, grpc_url: str, backend: str) -> Subject:
    """Ask a gateway what it is and what it serves.

    Args:
        sla: names the models.
        url: of its HTTP.
        grpc_url: of its gRPC.
        backend: what runs the models, where the user says it.
    """
    server: dict[str, Any] = {}
    models: list[Model] = []
    problem, dead, engine = "", False, ""
    try:
        with httpx.Client(base_url=url, timeout=_SECONDS, trust_env=False) as client:
            server = _json(client, "/v2")
            engine = _engine(client)
            models.extend(_model(client, target) for target in _distinct(sla.target))
    except httpx.TransportError as error:
        problem, dead = f"nobody answers at {url}: {error}", True
    except (httpx.HTTPStatusError, httpx.InvalidURL, ValueError, KeyError) as error:
        problem = _told(error)
    grpc = any(target.wire == "grpc" for target in sla.target)
    return Subject(
        url=url,
        grpc_url=grpc_url if grpc else "",
        problem=problem,
        dead=dead,
        server={key: server[key] for key in ("name", "version") if key in server},
        engine=engine,
        backend=backend or _BACKENDS.get(engine, "a backend that the server does not tell"),
        models=tuple(models),
        began=datetime.now(UTC).isoformat(timespec="seconds"),
    )


_BACKENDS = {
    "triton": "Triton, as nv_* in the gateway's metrics shows",
    "in process": "ONNX Runtime or echo in the gateway's process, or a Triton it shows nothing of",
}


def _engine(client: httpx.Client) -> str:
    answer = client.get("/metrics")
    if answer.is_error:
        return ""
    if "\nnv_inference" in answer.text:
        return "triton"
    return "in process" if "lupine_" in answer.text else ""


def _model(client: httpx.Client, target: Target) -> Model:
    path = f"/v2/models/{quote(target.model, safe='')}"
    if target.version:
        path += f"/versions/{quote(target.version, safe='')}"
    versions = _json(client, path)["versions"]
    served = target.version or (versions[-1] if versions else "")
    return Model(
        name=target.model,
        version=served,
        sha256=_sha256(target.model, served),
        config=_json(client, f"{path}/config"),
    )


def _sha256(model: str, served: str) -> str:
    """Of the file in this checkout's repository, where it has this version."""
    path = _REPOSITORY / model / served / "model.onnx"
    inside = path.resolve().is_relative_to(_REPOSITORY.resolve())
    return hashlib.sha256(path.read_bytes()).hexdigest() if inside and path.is_file() else ""


def _json(client: httpx.Client, path: str) -> dict[str, Any]:
    answer = client.get(path)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def _told(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        answer = error.response
        return f"{answer.request.url.path} answers {answer.status_code}: {answer.text[:300]}"
    return f"it does not speak the Open Inference Protocol: {error}"


def _distinct(targets: Sequence[Target]) -> list[Target]:
    found = {(target.model, target.version): target for target in targets}
    return list(found.values())


def _versions(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _arguments(arguments: Sequence[str]) -> list[str]:
    """The command line without this machine's folders."""
    return [Path(a).name if a.startswith("/") else a for a in arguments]
