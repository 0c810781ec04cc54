"""Commands that are programs of their own: they take this process's place."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from service.cli import screen


def become(
    command: str,
    module: str,
    arguments: Sequence[str],
    *,
    needed: Sequence[str],
    extra: str,
    status: int,
) -> NoReturn:
    """Run `python -m module arguments` in our place: signals and the exit status are its own.

    Args:
        command: what the user called, for the complaint.
        module: of this project, or of its checkout.
        arguments: its command line.
        needed: top-level packages without which it cannot start.
        extra: the extra of pyproject.toml that brings them.
        status: to exit with where one is missing.
    """
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        screen.complain(
            f"{command}: {', '.join(missing)} is not installed here: in a checkout, "
            f"`make setup`, or pip install -e '.[{extra}]'"
        )
        raise typer.Exit(status)
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - ourselves
