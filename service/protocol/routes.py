"""Aliases as routes: which version a name stands for."""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from typing import Protocol

import msgspec

CHAMPION = "champion"
"""The alias that a plain name stands for."""


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """A version that answers a share, 0 to 1, of the requests for the plain name."""

    version: str
    share: float


class Shadow(msgspec.Struct, frozen=True, kw_only=True):
    """A version that sees a share, 0 to 1, of the requests for the plain name, unheard.

    Its answers are compared: floats within the tolerance, all else exactly.
    """

    version: str
    share: float
    tolerance: float


class ModelRoutes(msgspec.Struct, frozen=True, kw_only=True):
    """The aliases of one model, each with its version; its canary and shadow, if it has them."""

    aliases: Mapping[str, str] = {}
    canary: Canary | None = None
    shadow: Shadow | None = None


def is_canarys(share: float, key: str) -> bool:
    """Whether a request belongs to the share of a canary.

    The same key always belongs to the same side, in every worker and as the share grows: it is
    hashed (CRC-32) into 0..1, and what is below the share is the canary's. An empty key is drawn.

    Args:
        share: 0 to 1.
        key: what the caller calls the request, or itself.
    """
    place = zlib.crc32(key.encode()) / 2**32 if key else random.random()  # noqa: S311 - no secret
    return place < share


class Routes(msgspec.Struct, frozen=True, kw_only=True):
    """The routes of every model that has an alias."""

    models: Mapping[str, ModelRoutes] = {}


NO_ROUTES = Routes()


class RouteSource(Protocol):
    """Where the routes are read."""

    def read(self) -> Routes:
        """The routes now.

        Raises:
            ConfigurationError: they cannot be read.
        """
