"""`lupine bench`: the SLA benchmark, which is a program of its own and sees a black box."""

from __future__ import annotations

import importlib.util
import os
import sys

import typer

from service.cli import screen

_USAGE = 3
_NEEDED = ("benchmarks", "locust", "hdrh")


def bench(context: typer.Context) -> None:
    """Hold a running gateway to its SLA: load by Locust, a verdict, a report to sign.

    `lupine bench --help` tells everything.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        screen.complain(
            f"bench: {', '.join(missing)} is not installed here: in a checkout, "
            "`make setup`, or pip install -e '.[bench]'"
        )
        raise typer.Exit(_USAGE)
    # It takes our place: signals, progress bars and the exit status are its own.
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *context.args])  # noqa: S606 - ourselves
