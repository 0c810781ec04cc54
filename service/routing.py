"""From the name, version or alias in a request to the one servable that answers it.

No aliases exist before a registry names them, so the routed version is the highest READY one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from service.errors import InvalidRequestError, NotFoundError, UnavailableError
from service.protocol.messages import Servable, Snapshot
from service.protocol.ports import Engine

RECHECK_SECONDS = 5.0
"""How old a snapshot may get: what others change in an engine shows after this long."""


class Generation(Protocol):
    """A number that every worker sees change when any of them changes what is loaded."""

    def current(self) -> int:
        """The number now; cheap enough for every request."""

    def bump(self) -> None:
        """Change it."""


class Catalogue:
    """The latest snapshot of the engine, and lookups in it.

    Args:
        engine: what is asked.
        generation: tells when to ask again.
        heard: called with each snapshot.
    """

    def __init__(
        self,
        engine: Engine,
        generation: Generation,
        heard: Callable[[Snapshot], object] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._generation = generation
        self._heard = heard
        self._snapshot = Snapshot()
        self._seen: int | None = None  # the generation that the snapshot shows
        self._taken = 0.0
        self._lock = asyncio.Lock()

    async def resolve(self, name: str, version: str) -> Servable:
        """The servable for a name and an optional version, as of the current generation.

        Raises:
            NotFoundError: no such model, version or alias.
            UnavailableError: the model exists and no version of it is READY.
        """
        if not self.fresh():
            await self.refresh()
        return self.pick(name, version)

    def fresh(self) -> bool:
        """Whether nobody has changed what is loaded since the engine was asked."""
        return self._generation.current() == self._seen

    def pick(self, name: str, version: str) -> Servable:
        """The servable for a name and an optional version, as of when the engine was asked.

        Raises:
            NotFoundError: no such model, version or alias.
            UnavailableError: the model exists and no version of it is READY.
        """
        return pick(self._snapshot, name, version)

    async def snapshot(self) -> Snapshot:
        """The current snapshot, asked of the engine again."""
        await self.refresh()
        return self._snapshot

    def knows(self, name: str) -> bool:
        """Whether any version of the model was READY when last looked."""
        return name in self._snapshot.servables

    def versions(self, name: str) -> list[str]:
        """The READY versions, ascending."""
        return sorted(self._snapshot.servables.get(name, ()), key=int)

    async def changed(self) -> None:
        """This worker changed what is loaded: tell the others, and look again."""
        self._generation.bump()
        await self.refresh()

    async def refresh(self) -> None:
        """Ask the engine anew. Callers that arrive meanwhile wait for the one that asks.

        Raises:
            UnavailableError: the engine cannot be asked; the old snapshot stays.
        """
        arrived = time.monotonic()
        async with self._lock:
            if self._taken > arrived and self._seen == self._generation.current():
                return
            generation = self._generation.current()
            started = time.monotonic()
            self._snapshot = _kept(self._snapshot, await self._engine.snapshot())
            self._heard(self._snapshot)
            self._seen, self._taken = generation, started


def _kept(old: Snapshot, new: Snapshot) -> Snapshot:
    """The new snapshot, with the old servables where they are equal: others know them by `id`."""
    return replace(
        new,
        servables={
            name: {
                version: known
                if (known := old.servables.get(name, {}).get(version)) == servable and known
                else servable
                for version, servable in versions.items()
            }
            for name, versions in new.servables.items()
        },
    )


def pick(snapshot: Snapshot, name: str, version: str) -> Servable:
    """Look a name up in a snapshot.

    Raises:
        InvalidRequestError: the version is no positive whole number.
        NotFoundError: no such model, version or alias.
        UnavailableError: the model is known, and nothing of it is READY.
    """
    versions = snapshot.servables.get(name)
    if versions is None:
        _explain(snapshot, name)
        raise NotFoundError(f"no model {name!r:.200} is known here")
    if not version:
        return next(iter(versions.values())) if len(versions) == 1 else highest(versions)
    if not (version.isascii() and version.isdigit()):
        raise InvalidRequestError(
            f"version {version!r:.60} of model {name!r}: a whole number is expected"
        )
    found = versions.get(version)
    if found is None:
        raise NotFoundError(
            f"model {name!r} has no version {version!r:.60} ready: "
            f"there is {', '.join(sorted(versions, key=int))}"
        )
    return found


def highest(versions: Mapping[str, Servable]) -> Servable:
    """The servable with the highest version, by number."""
    return versions[max(versions, key=int)]


def _explain(snapshot: Snapshot, name: str) -> None:
    base, at, alias = name.partition("@")
    if at and base in snapshot.servables:
        raise NotFoundError(f"model {base!r} has no alias {alias!r:.60}")
    for state in snapshot.index:
        if state.name == name:
            raise UnavailableError(
                f"model {name!r} is not loaded"
                + (f": {state.reason:.500}" if state.reason else ""),
                retry_after=RECHECK_SECONDS,
            )
