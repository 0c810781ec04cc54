"""What has to be done so that what is served is what the registry's aliases say. Pure.

Whatever the registry no longer says is kept: a registry that is empty, or has lost a model or the
alias `champion`, ends nothing that serves. Other aliases go where they go, and end when they end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from service.protocol.routes import CHAMPION
from service.registry.state import Model, Refusal, State

Aliases = Mapping[str, str]
"""The aliases of a model, each with its version."""

_TRIES_BETWEEN = 6  # polls between two attempts at what may heal, at most


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring a version here, and load it beside the others."""

    model: str
    version: str


@dataclass(frozen=True, slots=True)
class Flip:
    """Let the aliases of a model name these versions from now on."""

    model: str
    routes: Aliases
    held: Aliases


@dataclass(frozen=True, slots=True)
class Retire:
    """Let versions of a model go."""

    model: str
    versions: Sequence[str]


def fetches(wanted: Mapping[str, Aliases], state: State, poll: int = 0) -> list[Fetch]:
    """The versions that an alias names and that are not here.

    What was refused for good is not tried again; what may heal is, at first with every poll and
    then less often.

    Args:
        wanted: the aliases of each selected model.
        state: what is known.
        poll: counts the syncs.
    """
    missing = [
        (name, version)
        for name, aliases in sorted(wanted.items())
        for version in sorted(
            set(aliases.values()) - state.models.get(name, Model()).versions.keys(), key=_number
        )
    ]
    return [
        Fetch(name, version)
        for name, version in missing
        if _due(state.refused.get(key(name, version)), poll)
    ]


def flips(wanted: Mapping[str, Aliases], state: State) -> list[Flip]:
    """The models whose aliases do not name what they should, as far as it is here."""
    found = []
    for name, aliases in sorted(wanted.items()):
        model = state.models.get(name)
        if model is None:
            continue
        # An alias that was rolled back here stays, until the registry names another version.
        held = {alias: bad for alias, bad in model.held.items() if aliases.get(alias) == bad}
        routes = {
            **_kept(model, aliases),
            **{
                alias: version
                for alias, version in aliases.items()
                if version in model.versions and alias not in held
            },
        }
        if routes != dict(model.routes) or held != dict(model.held):
            found.append(Flip(name, routes, held))
    return found


def retirements(wanted: Mapping[str, Aliases], state: State, keep: int) -> list[Retire]:
    """The versions that nobody needs: not routed, not wanted, not among the latest `keep`."""
    found = []
    for name, model in sorted(state.models.items()):
        named = {*model.routes.values(), *wanted.get(name, {}).values()}
        needed = named & model.versions.keys()
        by_age = sorted(model.versions, key=lambda one: model.versions[one].order, reverse=True)
        spare = [one for one in by_age if one not in needed][max(0, keep - len(needed)) :]
        gone = [one for one in spare if model.versions[one].ours]
        if gone:
            found.append(Retire(name, sorted(gone, key=_number)))
    return found


def rolled_back(model: Model, alias: str) -> tuple[str, str] | None:
    """The version that an alias names and the one that it named before; None if it has none."""
    now = model.routes.get(alias)
    before = [one for one in model.before.get(alias, ()) if one != now and one in model.versions]
    return (now, before[-1]) if now is not None and before else None


def flipped(model: Model, flip: Flip, order: int) -> Model:
    """The model after a flip: what its aliases named is remembered, and what is routed is young."""
    before = dict(model.before)
    for alias, old in model.routes.items():
        if flip.routes.get(alias) != old:
            before[alias] = (*(one for one in before.get(alias, ()) if one != old), old)
    routed = set(flip.routes.values())
    young = routed - set(model.routes.values())
    versions = {
        version: msgspec.structs.replace(one, order=order) if version in young else one
        for version, one in model.versions.items()
    }
    # A canary or shadow that has become the champion, or lost its alias, is none any more.
    others = routed - {flip.routes.get(CHAMPION)}
    return Model(
        versions=versions,
        routes=flip.routes,
        before=before,
        held=flip.held,
        canary=model.canary if model.canary and model.canary.version in others else None,
        shadow=model.shadow if model.shadow and model.shadow.version in others else None,
    )


def key(model: str, version: str) -> str:
    """How a version is named in the state."""
    return f"{model}/{version}"


def _kept(model: Model, aliases: Aliases) -> Aliases:
    """The routes that stay whatever the registry says: the champion, and what is still wanted."""
    return {
        alias: version
        for alias, version in model.routes.items()
        if alias == CHAMPION or alias in aliases
    }


def _due(refusal: Refusal | None, poll: int) -> bool:
    if refusal is None:
        return True
    return not refusal.final and poll % min(refusal.tries, _TRIES_BETWEEN) == 0


def _number(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isascii() and version.isdigit() else (-1, version)
