"""The routes on disk: written by the registry sync, read by every worker.

The file lies beside the repository and is replaced as a whole, so workers start and go on without
the sync and without the registry.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from service.errors import ConfigurationError
from service.protocol.routes import NO_ROUTES, Routes
from service.settings import Repository

FILE = "routes.json"


def folder_of(repository: Repository) -> Path:
    """Where the sync of a repository keeps what it knows: beside it, on the same filesystem."""
    return repository.path.parent / f"{repository.path.name}.sync"


class RoutesFile:
    """Reads the routes again when they have changed.

    Args:
        folder: of the sync; it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._stamp: tuple[int, int, int] | None = None
        self._routes = NO_ROUTES

    def read(self) -> Routes:
        """The routes now; none where nothing was ever synced.

        Raises:
            ConfigurationError: the file holds no routes.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._routes = None, NO_ROUTES
            return self._routes
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            try:
                self._routes = msgspec.json.decode(self._path.read_bytes(), type=Routes)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                raise ConfigurationError(f"{self._path} holds no routes: {error}") from None
            self._stamp = stamp
        return self._routes
