"""From the name, version or alias in a request to the one servable that answers it.

Aliases come from the registry sync. A plain name is the alias `champion`; a model that has no
aliases is served by its highest READY version.
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
from service.protocol.routes import (
    CHAMPION,
    NO_ROUTES,
    Routes,
    RouteSource,
    is_canarys,
)

RECHECK_SECONDS = 5.0
"""How old a snapshot may get: what others change in an engine shows after this long."""


class Generation(Protocol):
    """A number that every worker sees change when any of them changes what is loaded."""

    def current(self) -> int:
        """The number now; cheap enough for every request."""

    def bump(self) -> None:
        """Change it."""


class Unrouted:
    """Where no registry names aliases."""

    def read(self) -> Routes:
        """None."""
        return NO_ROUTES


class Catalogue:
    """The latest snapshot of the engine, and lookups in it.

    Args:
        engine: what is asked.
        generation: tells when to ask again.
        heard: called with each snapshot.
        routes: what aliases name.
    """

    def __init__(
        self,
        engine: Engine,
        generation: Generation,
        heard: Callable[[Snapshot], object] = lambda _: None,
        routes: RouteSource | None = None,
    ) -> None:
        self._source = routes or Unrouted()
        self._routes = NO_ROUTES
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

    def pick(self, name: str, version: str, key: str = "") -> Servable:
        """The servable for a name and an optional version, as of when the engine was asked.

        `key` is what the caller calls the request: the same one meets the same canary.

        Raises:
            NotFoundError: no such model, version or alias.
            UnavailableError: the model exists and no version of it is READY.
        """
        return pick(self._snapshot, name, version, self._routes, key)

    @property
    def routes(self) -> Routes:
        """What the aliases name, as of when the engine was asked."""
        return self._routes

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
            # Before the engine is asked: what a route names was loaded before it was written.
            routes = self._source.read()
            self._snapshot = _kept(self._snapshot, await self._engine.snapshot())
            self._routes = routes
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


def pick(
    snapshot: Snapshot, name: str, version: str, routes: Routes = NO_ROUTES, key: str = ""
) -> Servable:
    """Look a name up in a snapshot.

    Args:
        snapshot: what is loaded.
        name: of a model, or `model@alias`.
        version: a number, or empty.
        routes: what the aliases name.
        key: what the caller calls the request; it decides whether a canary answers.

    Raises:
        InvalidRequestError: the version is no positive whole number, or comes with an alias.
        NotFoundError: no such model, version or alias.
        UnavailableError: the model is known, and nothing of it, or not what the alias names, is
            READY.
    """
    versions = snapshot.servables.get(name)
    if versions is None:
        return _by_alias(snapshot, name, version, routes)
    if not version:
        routed = routes.models.get(name)
        if routed is not None and routed.aliases:
            canary = routed.canary
            if canary is not None and canary.version in versions and is_canarys(canary.share, key):
                return versions[canary.version]
            return _routed(name, CHAMPION, routed.aliases, versions)
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


def _by_alias(snapshot: Snapshot, name: str, version: str, routes: Routes) -> Servable:
    """The servable of `model@alias`; a model's own name cannot have an `@` in it."""
    base, at, alias = name.partition("@")
    versions = snapshot.servables.get(base)
    if not at or versions is None:
        _explain(snapshot, base if at else name)
        raise NotFoundError(f"no model {name!r:.200} is known here")
    if version:
        raise InvalidRequestError(
            f"{name!r:.200} names an alias, and version {version!r:.60} comes with it: one of both"
        )
    routed = routes.models.get(base)
    return _routed(base, alias, routed.aliases if routed is not None else {}, versions)


def _routed(
    name: str, alias: str, aliases: Mapping[str, str], versions: Mapping[str, Servable]
) -> Servable:
    version = aliases.get(alias)
    if version is None:
        there = f": there is {', '.join(sorted(aliases))}" if aliases else ""
        raise NotFoundError(f"model {name!r} has no alias {alias!r:.60}{there}")
    found = versions.get(version)
    if found is None:
        raise UnavailableError(
            f"model {name!r} version {version}, which the alias {alias!r} names, is not loaded",
            retry_after=RECHECK_SECONDS,
        )
    return found


def highest(versions: Mapping[str, Servable]) -> Servable:
    """The servable with the highest version, by number."""
    return versions[max(versions, key=int)]


def _explain(snapshot: Snapshot, name: str) -> None:
    for state in snapshot.index:
        if state.name == name:
            raise UnavailableError(
                f"model {name!r} is not loaded"
                + (f": {state.reason:.500}" if state.reason else ""),
                retry_after=RECHECK_SECONDS,
            )
