"""Canaries and shadows: versions that are not the champion, and get a share of its requests.

The shares stand in tags of a version that another alias names: a canary answers its share
(`lupine.canary`), a shadow gets copies that are only compared (`lupine.shadow`, within
`lupine.shadow_tolerance`). Tags may change at any time: all of them are searched for with each
poll, by two calls, while any alias names a version that is not the champion.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.protocol.routes import CHAMPION, Canary, Shadow
from service.registry.mlflow import MlflowRegistry, RegistryError
from service.registry.plan import Aliases
from service.registry.state import Model

CANARY, SHADOW, TOLERANCE = "lupine.canary", "lupine.shadow", "lupine.shadow_tolerance"
_TOLERANCE = "0.001"


Tags = Mapping[tuple[str, str], Mapping[str, str]]
"""The tags of versions, by model and version."""


def tags(registry: MlflowRegistry) -> Tags:
    """Of every version that is to be a canary or a shadow.

    Raises:
        RegistryError: the registry does not answer as it should.
    """
    return {**registry.tagged(CANARY), **registry.tagged(SHADOW)}


def candidates(model: Model, aliases: Aliases) -> set[str]:
    """The versions that may be either: routed, still named by the registry, not the champion."""
    there = set(model.routes.values()) & set(aliases.values())
    return there - {model.routes.get(CHAMPION, "")}


def wanted(
    known: Tags, name: str, model: Model, aliases: Aliases
) -> tuple[Canary | None, Shadow | None]:
    """The canary and the shadow of a model, by its versions' tags; of several the lowest version.

    `aliases` are as the registry has them. A version that is the canary is no shadow.

    Raises:
        RegistryError: a tag is no share.
    """
    canary, shadow = None, None
    for version in sorted(candidates(model, aliases), key=int):
        given = known.get((name, version), {})
        where = f"{name} version {version}"
        share = _share(where, given, CANARY)
        if canary is None and share > 0:
            canary = Canary(version=version, share=share)
            continue
        share = _share(where, given, SHADOW)
        if shadow is None and share > 0:
            tolerance = _share(where, {TOLERANCE: _TOLERANCE, **given}, TOLERANCE)
            shadow = Shadow(version=version, share=share, tolerance=tolerance)
    return canary, shadow


def _share(where: str, tags: Mapping[str, str], key: str) -> float:
    tag = tags.get(key, "0")
    try:
        share = float(tag)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise RegistryError(f"{where}: the tag {key} is {tag!r:.60}: 0 to 1 is right")
    return share
