"""What `lupine serve` checks before it becomes `bentoml serve`, and the command that it becomes."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from service import settings as settings_module
from service.errors import ConfigurationError
from service.repository import layout
from service.runner import deployment, grpc_port, ports, runtime
from service.settings import Settings

SERVICE = "service.bento:Gateway"
_PACKAGE_FOLDER = Path(__file__).parents[2]  # the folder that holds the package `service`
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_OPEN_FILES = 65_536
_LOUDNESS = ("BENTOML_VERBOSITY", "BENTOML_DEBUG", "BENTOML_QUIET")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A process to become: its command line, and its whole environment."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


def check(settings: Settings) -> None:
    """Find out early what would keep the gateway from serving.

    Raises:
        ConfigurationError: what it is, and how to mend it.
    """
    address = ports.numeric_address(settings.server.host)
    ports.check_free(address, settings.server.port, "--port")
    grpc_port.check_apart(settings)
    ports.check_free(address, settings.server.grpc_port, grpc_port.FLAG)
    kind, _ = check_engine(settings)
    if kind == "triton" and settings.triton.url:
        deployment.reach(settings.triton.url)
    else:
        layout.check_repository(settings.repository.path)  # a Triton elsewhere has its own


def check_engine(settings: Settings) -> tuple[str, str]:
    """The engine that will serve and why, as `deployment.choose_engine`, once it is sure to start.

    Raises:
        ConfigurationError: there is no such engine here.
    """
    servers = _addresses("--triton-url", settings.triton.url, "gRPC")
    if settings.triton.http_url:
        http = _addresses("triton.http_url", settings.triton.http_url, "HTTP")
        if len(http) != len(servers):
            raise ConfigurationError(
                f"triton.http_url has {len(http)} addresses, --triton-url {len(servers)}: "
                "one for each server is expected, in the same order"
            )
    kind, why = deployment.choose_engine(settings)
    if kind == "onnx" and importlib.util.find_spec("onnxruntime") is None:
        raise ConfigurationError(
            f"{why}: but onnxruntime is not installed: `make setup` installs it"
        )
    return kind, why


def _addresses(name: str, given: str, endpoint: str) -> list[str]:
    found = [address.strip() for address in given.split(",")] if given else []
    for address in found:
        if not _ADDRESS.fullmatch(address):
            raise ConfigurationError(
                f"{name} has {address!r:.200}: HOST:PORT of Triton's {endpoint} is "
                "expected, without a scheme, several separated by commas"
            )
    return found


def check_managed(settings: Settings) -> None:
    """Make sure that the managed Triton can start on this repository.

    Raises:
        ConfigurationError: it cannot, and why.
    """
    layout.check_repository(settings.repository.path)
    missing = runtime.missing_reason(settings.triton.runtime)
    if missing:
        raise ConfigurationError(f"there is no managed Triton: {missing}")


def plan(settings: Settings, run_dir: Path, base: Mapping[str, str]) -> Start:
    """The `bentoml serve` that serves with these settings. Paths in it depend on no folder.

    Args:
        settings: `check` had no complaint about them.
        run_dir: the private folder of this gateway.
        base: the environment to build on.

    Raises:
        ConfigurationError: BENTOML_CONFIG_OVERRIDES in `base` is no JSON object.
    """
    host = ports.numeric_address(settings.server.host)
    settings = settings.model_copy(
        update={
            "server": settings.server.model_copy(update={"host": host}),
            "repository": settings.repository.model_copy(
                update={"path": settings.repository.path.absolute()}
            ),
            "triton": settings.triton.model_copy(
                update={"runtime": settings.triton.runtime.absolute()}
            ),
            "run_dir": run_dir.absolute(),
        }
    )
    environment = dict(base) | settings_module.exported(settings)
    environment["BENTOML_HOME"] = str(settings.run_dir / "bentoml" if settings.run_dir else "")
    environment["BENTOML_DO_NOT_TRACK"] = "True"
    workers = deployment.worker_count(settings)
    environment["BENTOML_CONFIG_OVERRIDES"] = _overrides(base, workers)
    arguments = {
        "--host": host,
        "--port": str(settings.server.port),
        "--working-dir": str(_PACKAGE_FOLDER),
        "--timeout-graceful-shutdown": str(settings.server.grace_seconds),
    }
    flags = [part for pair in arguments.items() for part in pair]
    if not any(name in base for name in _LOUDNESS):
        flags.append("--quiet")  # errors alone; the lines of ours are not BentoML's
    return Start(
        # -P: nothing in the working directory may pose as BentoML.
        command=(sys.executable, "-P", "-m", "bentoml", "serve", SERVICE, *flags),
        environment=environment,
    )


def _overrides(base: Mapping[str, str], workers: int) -> str:
    given = base.get("BENTOML_CONFIG_OVERRIDES") or "{}"
    try:
        tree = json.loads(given)
        gateway = tree.setdefault("services", {}).setdefault("Gateway", {})
        gateway["workers"] = workers
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError(
            f"BENTOML_CONFIG_OVERRIDES is {given!r:.200}: a JSON object is expected"
        ) from None
    return json.dumps(tree)


def raise_open_files() -> int:
    """Allow this process as many open files as it may have. Returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def become(start: Start) -> None:
    """Replace this process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(start.command[0], start.command, start.environment)  # noqa: S606 - no shell is wanted
