"""Aliases as routes: which version a name stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

CHAMPION = "champion"
"""The alias that a plain name stands for."""


class ModelRoutes(msgspec.Struct, frozen=True, kw_only=True):
    """The aliases of one model, each with its version."""

    aliases: Mapping[str, str] = {}


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
