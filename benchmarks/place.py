"""Where in a TOML file a value is, so that an error can name its line."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any


def dotted(steps: Sequence[str | int]) -> str:
    """The way to a value, for a message: `target.0.limits`; `file` for the whole."""
    return ".".join(str(step) for step in steps) or "file"


def line(text: str, steps: Sequence[str | int]) -> int:
    """The line on which a value is complete: the shortest beginning of the file that has it.

    What has no line of its own (a key that is missing) gets that of the table it belongs to.
    """
    lines = text.splitlines()
    for depth in range(len(steps), 0, -1):
        for end in range(1, len(lines) + 1):
            try:
                found: Any = tomllib.loads("\n".join(lines[:end]))
            except tomllib.TOMLDecodeError:
                continue  # in the midst of a value of several lines
            if _has(found, steps[:depth]):
                return end
    return 1


def _has(document: Any, steps: Sequence[str | int]) -> bool:
    for step in steps:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True
