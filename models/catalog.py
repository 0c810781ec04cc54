"""The models of this repository, by name. Each is a module here; a new one is a line below."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import cast

from models.specification import Builder, ModelError, ModelSpec

NAMES = (
    "delivery_eta",
    "digits",
    "magika",
    "parcel_router",
    "resnet18",
    "silero_vad",
)


def require(name: str, offered: Sequence[str] = NAMES) -> None:
    """Make sure that there is a model of this name, among those that are offered.

    Raises:
        ModelError: there is none.
    """
    if name not in offered:
        raise ModelError(f"the catalogue has no model {name!r}: there are {', '.join(offered)}")


def builder(name: str) -> Builder:
    """The module that makes a model, imported now: it may need torch or scikit-learn.

    Raises:
        ModelError: there is no such model, or a package that it needs is not installed.
    """
    require(name)
    try:
        return cast("Builder", importlib.import_module(f"models.{name}"))
    except ModuleNotFoundError as error:
        raise ModelError(
            f"building {name!r} needs the package {error.name!r}: "
            "install the extra `export` (pip install -e '.[cpu,export]')"
        ) from None


def find(name: str) -> ModelSpec:
    """The spec of a model.

    Raises:
        ModelError: there is no such model, or a package that it needs is not installed.
    """
    return builder(name).SPEC
