"""The sync as an administrator asks it, by the command line or through a worker of the gateway."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from service.errors import ConfigurationError, UnavailableError
from service.registry import beat
from service.registry.bell import Bell
from service.registry.gateway_client import GatewayClient
from service.registry.mlflow import MlflowRegistry, RegistryError
from service.registry.state import State, StateFolder
from service.registry.sync import Sync
from service.registry.webhook import Webhook
from service.repository import layout
from service.repository.routes import folder_of
from service.settings import REGISTRY, Settings

_PATIENCE = 10.0  # seconds that a rollback waits for a sync under way


@contextmanager
def opened(
    settings: Settings,
    folder: StateFolder,
    url: str | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> Iterator[Sync]:
    """A sync from the registry that the environment names, for as long as a block lasts.

    Args:
        settings: the effective ones.
        folder: of the sync.
        url: of the gateway; where the settings have it, if none is given.
        told: is called with each step before it is taken.

    Raises:
        ConfigurationError: no registry is named, its address is none, or there is no repository.
    """
    layout.check_repository(settings.repository.path)
    if not os.environ.get(REGISTRY):
        raise ConfigurationError(f"{REGISTRY} names no registry, such as http://127.0.0.1:5000")
    try:
        registry = MlflowRegistry(os.environ[REGISTRY])
    except RegistryError as error:
        raise ConfigurationError(str(error)) from None
    gateway = GatewayClient(
        url or f"http://{settings.server.url_host}:{settings.server.port}",
        settings.admin_key.get_secret_value(),
    )
    try:
        path, chosen = settings.repository.path, settings.registry
        yield Sync(registry, path, folder, settings=chosen, gateway=gateway, told=told)
    finally:
        gateway.close()
        registry.close()


def status(folder: Path) -> dict[str, Any]:
    """What is synced, routed and refused, as JSON has it; `looked_at` in seconds since 1970.

    Args:
        folder: of the sync; it need not be there.

    Raises:
        ConfigurationError: the state cannot be read.
    """
    state = StateFolder(folder).read() if folder.is_dir() else State()
    known: dict[str, Any] = msgspec.to_builtins(state)
    return known | {"looked_at": beat.read(folder).at or None}


class Control:
    """What a worker passes on to the sync.

    Args:
        settings: the effective ones.
        webhook: takes MLflow's deliveries.
        bell: has whoever watches look at the registry at once.
    """

    def __init__(self, settings: Settings, webhook: Webhook, bell: Bell) -> None:
        self._settings = settings
        self._webhook = webhook
        self._bell = bell

    def deliver(self, headers: Mapping[str, str], body: bytes) -> None:
        """Take a delivery of MLflow's; see `Webhook.receive`.

        Raises:
            UnavailableError: the sync's folder, or the run folder, cannot be written.
        """
        with _ringing():
            self._webhook.receive(headers, body)

    def look(self) -> None:
        """Have whoever watches the registry look at it now.

        Raises:
            UnavailableError: the sync's folder cannot be written.
        """
        with _ringing():
            self._bell.ring()

    def status(self) -> dict[str, Any]:
        """As the function of that name.

        Raises:
            ConfigurationError: the state cannot be read.
        """
        return status(folder_of(self._settings.repository))

    def roll_back(self, model: str, alias: str) -> dict[str, Any]:
        """Let an alias name the version that it named before; takes as long as the registry does.

        Returns:
            `done` and `wrong`: sentences.

        Raises:
            NotFoundError: there is no such model or alias.
            InvalidRequestError: it never named another version that is still here.
            UnavailableError: a sync is under way for long, or no registry is named.
        """
        try:
            folder = StateFolder(folder_of(self._settings.repository))
            with opened(self._settings, folder) as syncing, folder.locked(_PATIENCE):
                report = syncing.roll_back(model, alias)
        except ConfigurationError as error:
            raise UnavailableError(error.message) from None
        return {"done": list(report.done), "wrong": list(report.wrong)}


@contextmanager
def _ringing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(f"the bell of the sync cannot be rung: {error}") from None
