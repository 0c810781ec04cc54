"""Canaries: a version that is not the champion, and answers a share of its requests.

The share stands in the tag `lupine.canary` of a version that another alias names. Tags may change
at any time, and no search tells: they are asked for at each poll, of such versions alone.
"""

from __future__ import annotations

from service.protocol.routes import CHAMPION, Canary
from service.registry.mlflow import MlflowRegistry, RegistryError
from service.registry.plan import Aliases
from service.registry.state import Model

TAG = "lupine.canary"


def wanted(registry: MlflowRegistry, name: str, model: Model, aliases: Aliases) -> Canary | None:
    """The canary of a model, by its versions' tags; the lowest version where there are several.

    `aliases` are as the registry has them: what it has lost is not asked for.

    Raises:
        RegistryError: the registry does not answer as it should, or a tag is no share.
    """
    there = set(model.routes.values()) & set(aliases.values())
    others = there - {model.routes.get(CHAMPION)}
    for version in sorted(others, key=int):
        tag = registry.version(name, version).tags.get(TAG)
        if tag is not None and (share := _share(name, version, tag)) > 0:
            return Canary(version=version, share=share)
    return None


def _share(name: str, version: str, tag: str) -> float:
    try:
        share = float(tag)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise RegistryError(
            f"{name} version {version}: the tag {TAG} is {tag!r:.60}: 0 to 1 is right"
        )
    return share
