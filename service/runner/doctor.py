"""What `lupine doctor` looks at: each check says what it found, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

from service.errors import ConfigurationError
from service.repository import layout
from service.repository.survey import Finding, survey
from service.runner import entry, ports, runtime
from service.settings import Settings

USERS = 2_000
# A connection is a file, and the busiest of several workers may hold them all; the rest of a
# worker (libraries, sockets to Triton, metrics) stays well under the remainder.
OPEN_FILES = USERS + 500
SHARED_MEMORY = 64 << 20  # Docker's default, in which a few models' stubs just fit

_NEEDED = ("bentoml", "tritonclient", "uvloop", "httptools", "numpy")
_OPTIONAL = {
    "magika": "POST /identify and `make setup`'s model need it",
    "torch": "only `lupine export` needs it",
}
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_HINTS = {"magika": "`make setup` packages it"}
_ASK_SECONDS = 1.0

# y = Identity(x) as an ONNX file: ir_version 8, opset 13, FP32 of shape [1].
_IDENTITY = bytes.fromhex(
    "08083a370a100a017812017922084964656e74697479"
    "1201675a0f0a0178120a0a08080112040a020801"
    "620f0a0179120a0a08080112040a02080142040a00100d"
)


class State(StrEnum):
    """How bad it is. `WRONG` alone keeps the gateway from serving."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at, as it was found."""

    topic: str
    state: State
    found: str
    mend: str = ""


def examine(settings: Settings) -> list[Check]:
    """Look at everything that these settings lean on. Starts nothing, and changes nothing."""
    return [
        *packages(),
        *onnxruntime(settings),
        managed_triton(settings),
        engine(settings),
        port(settings),
        *(triton_elsewhere(settings) if _elsewhere(settings) else repository(settings)),
        open_files(*resource.getrlimit(resource.RLIMIT_NOFILE)),
        shared_memory(Path("/dev/shm")),  # noqa: S108 - where the kernel keeps it, no scratch folder
    ]


def packages() -> Iterator[Check]:
    """Python and the packages that the gateway stands on."""
    yield Check(topic="python", state=State.OK, found=platform.python_version())
    for name in _NEEDED:
        version = _version(name)
        yield Check(
            topic=name,
            state=State.OK if version else State.WRONG,
            found=version or "not installed",
            mend="" if version else "`make setup` installs it",
        )
    for name, purpose in _OPTIONAL.items():
        version = _version(name)
        yield Check(topic=name, state=State.NOTE, found=version or f"not installed: {purpose}")


def onnxruntime(settings: Settings) -> Iterator[Check]:
    """ONNX Runtime, and the execution providers that really run a graph here."""
    installed = [name for name in _RUNTIMES if _version(name)]
    if len(installed) > 1:
        yield Check(
            topic="onnxruntime",
            state=State.WRONG,
            found=" and ".join(installed) + " overwrite each other's files",
            mend="uninstall both, then install one: the extra `cpu` or `gpu`",
        )
        return
    if not installed:
        needed = settings.engine.kind == "onnx"
        yield Check(
            topic="onnxruntime",
            state=State.WRONG if needed else State.WARNING,
            found="not installed",
            mend="`make setup` installs it",
        )
        return
    try:
        running, broken = _providers()
    except Exception as error:  # noqa: BLE001 - a broken native library raises what it likes
        yield Check(
            topic="onnxruntime",
            state=State.WRONG,
            found=f"{installed[0]} {_version(installed[0])} does not work: {error}",
            mend="install it anew: `make setup`",
        )
        return
    found = f"{installed[0]} {_version(installed[0])}: {', '.join(running)}"
    if broken:
        found += f"; listed, but not working here: {', '.join(broken)}"
    yield Check(topic="onnxruntime", state=State.OK, found=found)


def _providers() -> tuple[list[str], list[str]]:
    """Those that run a graph, and those that are listed only."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is loaded
    import onnxruntime as ort  # noqa: PLC0415 - the doctor must work where it is missing or broken

    running: list[str] = []
    broken: list[str] = []
    for name in ort.get_available_providers():
        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            session = ort.InferenceSession(_IDENTITY, options, providers=[name])
            works = name in session.get_providers()
        except Exception:  # noqa: BLE001 - ONNX Runtime's own kinds share no root
            works = False
        (running if works else broken).append(name.removesuffix("ExecutionProvider"))
    return running, broken


def managed_triton(settings: Settings) -> Check:
    """The runtime that `make setup` builds."""
    folder = settings.triton.runtime
    missing = runtime.missing_reason(folder)
    if missing is None:
        return _built(folder)
    needed = settings.engine.kind == "triton" and not settings.triton.url
    return Check(
        topic="managed Triton",
        state=State.WRONG if needed else State.NOTE,
        found=missing,
        mend="--engine onnx serves without it" if needed else "",
    )


def _built(folder: Path) -> Check:
    inside = [
        distribution
        for site in folder.glob("lib/python3*/site-packages")
        for distribution in importlib.metadata.distributions(path=[str(site)])
    ]
    versions = {found.name: found.version for found in inside}
    numpy = versions.get("numpy", "")
    if not numpy.startswith("1."):
        return Check(
            topic="managed Triton",
            state=State.WRONG,
            found=f"{folder} holds NumPy {numpy or 'nowhere'}: every output would arrive empty",
            mend=f"rebuild it: `rm -rf {folder} && make setup`",
        )
    shown = ("nvidia-pytriton", "onnxruntime", "numpy")
    told = ", ".join(f"{name} {versions[name]}" for name in shown if name in versions)
    return Check(topic="managed Triton", state=State.OK, found=f"built in {folder}: {told}")


def engine(settings: Settings) -> Check:
    """Which engine would serve, and why."""
    try:
        kind, why = entry.check_engine(settings)
    except ConfigurationError as error:
        return Check(
            topic="engine",
            state=State.WRONG,
            found=error.message,
            mend="or take another: --engine onnx",
        )
    return Check(topic="engine", state=State.OK, found=f"{kind}: {why}")


def port(settings: Settings) -> Check:
    """Whether the gateway could listen, or already does."""
    number = settings.server.port
    topic = f"port {number}"
    try:
        address = ports.numeric_address(settings.server.host)
        ports.check_free(address, number, "--port")
    except ConfigurationError as error:
        if _is_lupine(settings):
            return Check(topic=topic, state=State.NOTE, found="a Lupine gateway answers on it")
        return Check(topic=topic, state=State.WRONG, found=error.message)
    return Check(topic=topic, state=State.OK, found=f"free on {address}")


def _elsewhere(settings: Settings) -> bool:
    return bool(settings.triton.url) and settings.engine.kind in ("auto", "triton")


def triton_elsewhere(settings: Settings) -> Iterator[Check]:
    """Whether something listens at each address of `--triton-url`."""
    for address in settings.triton.url.split(","):
        host, _, number = address.strip().rpartition(":")
        try:
            reached = socket.create_connection((host.strip("[]"), int(number)), _ASK_SECONDS)
        except (OSError, ValueError, OverflowError) as error:
            yield Check(
                topic=f"Triton at {address.strip()}",
                state=State.WRONG,
                found=f"nothing listens: {error}",
                mend="start it, or correct triton.url: HOST:PORT of its gRPC",
            )
            continue
        reached.close()
        yield Check(topic=f"Triton at {address.strip()}", state=State.OK, found="listens")


def _is_lupine(settings: Settings) -> bool:
    host = settings.server.host
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}/v2"
    try:
        answer = httpx.get(url, timeout=_ASK_SECONDS, trust_env=False)
        return bool(answer.json()["name"] == "lupine")
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False


def repository(settings: Settings) -> Iterator[Check]:
    """The model repository, and each model in it."""
    path = settings.repository.path
    try:
        layout.check_repository(path)
        models = survey(path, needs_files=settings.engine.kind != "echo")
    except ConfigurationError as error:
        yield Check(topic="repository", state=State.WRONG, found=error.message)
        return
    sound = [model for model in models if not model.problems]
    state = State.OK if sound else State.WRONG if models else State.WARNING
    yield Check(
        topic="repository",
        state=state,
        found=f"{path}: {len(sound)} of {len(models)} models look sound",
        mend="" if models else "put a model at <name>/1/model.onnx",
    )
    yield from (_model(model) for model in models)


def _model(model: Finding) -> Check:
    listed = ", ".join(map(str, model.versions))
    return Check(
        topic=f"model {model.name}",
        state=State.WARNING if model.problems else State.OK,
        found="; ".join(model.problems) or f"version {listed}",
        mend=_HINTS.get(model.name, "") if model.problems else "",
    )


def open_files(soft: int, hard: int) -> Check:
    """Whether the limit allows for that many users. `lupine serve` raises soft to hard."""
    unlimited = resource.RLIM_INFINITY
    enough = hard == unlimited or hard >= OPEN_FILES
    words = f"{_limit(soft)}, at most {_limit(hard)}"
    if not enough:
        return Check(
            topic="open files",
            state=State.WARNING,
            found=f"{words}: {USERS:,} users on one worker need {OPEN_FILES:,}",
            mend="raise the hard limit: `ulimit -Hn`, LimitNOFILE= or --ulimit nofile=",
        )
    if soft != unlimited and soft < OPEN_FILES:
        words += ": `lupine serve` raises it"
    return Check(topic="open files", state=State.OK, found=words)


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else f"{value:,}"


def shared_memory(folder: Path) -> Check:
    """Where Triton's stubs keep the tensors that they exchange with it."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return Check(
            topic=str(folder), state=State.WARNING, found=f"Triton's stubs need it: {error}"
        )
    free = f"{usage.free >> 20:,} MiB of {usage.total >> 20:,} MiB free"
    if usage.free < SHARED_MEMORY or not os.access(folder, os.W_OK):
        return Check(
            topic=str(folder),
            state=State.WARNING,
            found=free if os.access(folder, os.W_OK) else f"{folder} may not be written to",
            mend="in a container: --shm-size=1g",
        )
    return Check(topic=str(folder), state=State.OK, found=free)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def as_json(check: Check) -> dict[str, Any]:
    """A check for scripts."""
    return {
        "topic": check.topic,
        "state": check.state.value,
        "found": check.found,
        "mend": check.mend,
    }
