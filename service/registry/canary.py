"""Canaries and shadows: versions that are not the champion, and get a share of its requests.

The shares stand in tags of a version that another alias names: a canary answers its share
(`lupine.canary`), a shadow gets copies that are only compared (`lupine.shadow`, within
`lupine.shadow_tolerance`). Tags may change at any time, and no search tells: they are asked for at
each poll, of such versions alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.protocol.routes import CHAMPION, Canary, Shadow
from service.registry.mlflow import MlflowRegistry, RegistryError
from service.registry.plan import Aliases
from service.registry.state import Model

CANARY, SHADOW, TOLERANCE = "lupine.canary", "lupine.shadow", "lupine.shadow_tolerance"
_TOLERANCE = "0.001"


def wanted(
    registry: MlflowRegistry, name: str, model: Model, aliases: Aliases
) -> tuple[Canary | None, Shadow | None]:
    """The canary and the shadow of a model, by its versions' tags; of several the lowest version.

    `aliases` are as the registry has them: what it has lost is not asked for. A version that is
    the canary is no shadow.

    Raises:
        RegistryError: the registry does not answer as it should, or a tag is no share.
    """
    canary, shadow = None, None
    there = set(model.routes.values()) & set(aliases.values())
    for version in sorted(there - {model.routes.get(CHAMPION)}, key=int):
        tags = registry.version(name, version).tags
        where = f"{name} version {version}"
        share = _share(where, tags, CANARY)
        if canary is None and share > 0:
            canary = Canary(version=version, share=share)
            continue
        share = _share(where, tags, SHADOW)
        if shadow is None and share > 0:
            tolerance = _share(where, {TOLERANCE: _TOLERANCE, **tags}, TOLERANCE)
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
