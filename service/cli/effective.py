"""The settings that a command works with: the file, the environment, and its own flags."""

from __future__ import annotations

import os
from collections.abc import Mapping

from service import settings as settings_module
from service.runner import runtime
from service.settings import Settings


def effective(flags: Mapping[str, object] | None = None) -> tuple[Settings, dict[str, str]]:
    """The settings, and for each `section.key` where its value came from.

    Args:
        flags: `section.key` to the value of a flag; None where the flag was not given.

    Raises:
        ConfigurationError: a setting is unknown, or cannot be used.
    """
    given = {key: str(value) for key, value in (flags or {}).items() if value is not None}
    environment = os.environ | {settings_module.variable(key): v for key, v in given.items()}
    settings, origins = settings_module.load(environment)
    origins |= dict.fromkeys(given, "flag")
    path = settings.triton.runtime
    if origins["triton.runtime"] == "default" and not path.is_dir():
        # `lupine` may run in any folder; the runtime is where the project is.
        path = runtime.default_directory({})
        settings = settings.model_copy(
            update={"triton": settings.triton.model_copy(update={"runtime": path})}
        )
    return settings, origins
