"""Puts a fetched version into the repository, or leaves all as it was; takes old ones away.

A version's folder is renamed in and the configuration replaced, each at once and whole; the model
is loaded as a whole or not at all. Only then does the version count.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from service.registry import configuring, fetch
from service.registry.fetch import Fetched
from service.registry.gateway_client import GatewayClient
from service.registry.refused import RefusedVersionError
from service.registry.state import Published
from service.repository import config as model_config
from service.repository import layout


class Publication:
    """The repository, as the sync changes it.

    Args:
        repository: of models; exists.
        staging: on the same filesystem, outside of it.
        gateway: that serves it.
    """

    def __init__(self, repository: Path, staging: Path, gateway: GatewayClient) -> None:
        self._repository = repository
        self._staging = staging
        self._gateway = gateway

    def add(
        self,
        model: str,
        version: str,
        fetched: Fetched,
        config: Mapping[str, Any],
        known: Mapping[str, Published],
        *,
        running: bool,
    ) -> None:
        """Publish a version beside those that are known, and load it where a gateway runs.

        Raises:
            RefusedVersionError: it does not go with the others, or is not loaded; all is as it was.
        """
        folder = self._repository / model
        target = folder / version
        self._check_beside(model, version, fetched, config, known)
        path = folder / model_config.CONFIG_FILE
        before = path.read_text() if known else None
        text = configuring.text(config, {*known, version})
        if fetched.config is not None:
            fetched.config.unlink()
        if target.exists() and version not in known:
            shutil.rmtree(target)  # of a sync that was killed: its bytes are in staging again
        if not folder.exists():
            self._new_folder(model, version, fetched, text)
        else:
            if not target.exists():
                fetched.folder.rename(target)
            self._replace_config(model, text)
        if not running:
            return
        try:
            self._gateway.load(model)
            self._gateway.await_ready(model, version)
        except RefusedVersionError:
            self._undo(model, version, known, before)
            raise

    def retire(
        self, model: str, versions: Sequence[str], left: Mapping[str, Published], *, running: bool
    ) -> None:
        """Let versions go: out of the configuration, out of memory, off the disk, in this order.

        Raises:
            RefusedVersionError: the gateway does not load the model anew; the files stay.
        """
        config = model_config.read(self._repository / model)
        self._replace_config(model, configuring.text(config, left))
        if running:
            self._gateway.load(model)
        for version in versions:
            shutil.rmtree(self._repository / model / version, ignore_errors=True)

    def foreign(self, model: str) -> dict[str, Published]:
        """Versions of a model that were in the repository before the sync knew of it."""
        folder = self._repository / model
        if not (folder / model_config.CONFIG_FILE).is_file():
            return {}
        paths = [
            (number, folder / str(number) / name)
            for number in layout.versions(folder)
            for name in fetch.MODELS
        ]
        return {
            str(number): Published(
                sha256=fetch.sha256(path), bytes=path.stat().st_size, order=0, ours=False
            )
            for number, path in paths
            if path.is_file() and path.stat().st_size
        }

    def _check_beside(
        self,
        model: str,
        version: str,
        fetched: Fetched,
        config: Mapping[str, Any],
        known: Mapping[str, Published],
    ) -> None:
        same = known.get(version)
        if same is not None and same.sha256 != fetched.sha256:
            raise RefusedVersionError(
                f"the repository has a {model}/{version} that the sync did not put there, with "
                f"other bytes (sha256 {same.sha256[:12]}): move it away"
            )
        if known:
            served = model_config.read(self._repository / model)
            if change := configuring.signature_change(served, config):
                raise RefusedVersionError(change)

    def _new_folder(self, model: str, version: str, fetched: Fetched, text: str) -> None:
        """A model that is new: its folder appears whole."""
        whole = self._staging / f"{model}.whole"
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        (whole / model_config.CONFIG_FILE).write_text(text)
        fetched.folder.rename(whole / version)
        whole.rename(self._repository / model)

    def _replace_config(self, model: str, text: str) -> None:
        path = self._repository / model / model_config.CONFIG_FILE
        if path.is_file() and path.read_text() == text:
            return
        self._staging.mkdir(exist_ok=True)
        staged = self._staging / f"{model}.{model_config.CONFIG_FILE}"
        staged.write_text(text)
        staged.replace(path)

    def _undo(
        self, model: str, version: str, known: Mapping[str, Published], before: str | None
    ) -> None:
        """The configuration as it was, and the version gone: a restart must not meet it."""
        if before is None:
            shutil.rmtree(self._repository / model)
            return
        self._replace_config(model, before)
        if version not in known:
            shutil.rmtree(self._repository / model / version)
