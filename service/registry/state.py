"""What the sync knows, on disk: replaced at once and whole, so that no crash tears it.

The folder lies beside the repository, on the same filesystem and never in it: any other file in a
model's folder makes Triton reload the model.

- `state.json`: what was published, routed, refused and held;
- `routes.json`: what the gateway's workers read;
- `staging/<model>/<version>/`: what is being downloaded;
- `lock`, `watcher`: who syncs, and who does again and again;
- `bell`: touched when the registry has something new; `beat.json`: counts, for the metrics.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from service.errors import ConfigurationError
from service.protocol.routes import Canary, ModelRoutes, Routes, Shadow
from service.repository.routes import FILE as ROUTES_FILE

_PAUSE = 0.05


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """A version in the repository."""

    sha256: str
    bytes: int
    order: int  # the higher, the later it was published or routed
    ours: bool = True  # the sync put it there, and may take it away


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the sync looks after.

    `routes` are the aliases with their versions; `before` the versions that each alias named, the
    latest last; `held` are aliases that were rolled back here, with the version that they are not
    to go to again until the registry names another. `canary` and `shadow` are as the tags of
    versions say.
    """

    versions: Mapping[str, Published] = {}
    routes: Mapping[str, str] = {}
    before: Mapping[str, tuple[str, ...]] = {}
    held: Mapping[str, str] = {}
    canary: Canary | None = None
    shadow: Shadow | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a version is not served, and how often it was tried."""

    reason: str
    tries: int
    final: bool  # trying again would change nothing: the bytes themselves are at fault


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `refused` is by `model/version`."""

    models: Mapping[str, Model] = {}
    refused: Mapping[str, Refusal] = {}
    registry: str = ""  # what is wrong with the registry; empty: nothing
    order: int = 0


class StateFolder:
    """The sync's folder.

    Args:
        path: made where there is none.

    Raises:
        ConfigurationError: it cannot be made.
    """

    STATE = "state.json"

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o755)
        except OSError as error:
            raise ConfigurationError(f"the sync's folder {path} cannot be made: {error}") from None

    @property
    def staging(self) -> Path:
        """Where versions are put together."""
        return self.path / "staging"

    def read(self) -> State:
        """What is known; nothing on the first day.

        Raises:
            ConfigurationError: the file is none of ours.
        """
        path = self.path / self.STATE
        try:
            return msgspec.json.decode(path.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ConfigurationError(
                f"{path} is no state of the sync: {error}; without the file all is synced anew"
            ) from None

    def write(self, state: State) -> None:
        """Replace what is known."""
        self._replace(self.STATE, msgspec.json.format(msgspec.json.encode(state), indent=1))

    def write_routes(self, state: State) -> None:
        """Replace what the workers read."""
        routes = Routes(
            models={
                name: ModelRoutes(aliases=model.routes, canary=model.canary, shadow=model.shadow)
                for name, model in state.models.items()
                if model.routes
            }
        )
        self._replace(ROUTES_FILE, msgspec.json.format(msgspec.json.encode(routes), indent=1))

    @contextmanager
    def locked(self, patience: float = 0.0) -> Iterator[None]:
        """Be the only one who syncs.

        Args:
            patience: seconds to wait for another.

        Raises:
            ConfigurationError: another process does already.
        """
        with self._alone("lock", patience):
            yield

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Be the only one who syncs again and again; others may sync in between.

        Raises:
            ConfigurationError: another process does already.
        """
        with self._alone("watcher", 0.0):
            yield

    @contextmanager
    def _alone(self, name: str, patience: float) -> Iterator[None]:
        descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + patience
            while not _got(descriptor):
                if time.monotonic() >= until:
                    raise ConfigurationError(
                        f"another process syncs into {self.path} already: "
                        "`lupine sync status` shows what it has done"
                    )
                time.sleep(_PAUSE)
            yield
        finally:
            os.close(descriptor)

    def _replace(self, name: str, content: bytes) -> None:
        staged = self.path / f"{name}.{os.getpid()}"
        with staged.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(self.path / name)


def _got(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
