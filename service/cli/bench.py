"""`lupine bench`: the SLA benchmark, which is a program of its own and sees a black box."""

from __future__ import annotations

import typer

from service.cli.takeover import become

_USAGE = 3


def bench(context: typer.Context) -> None:
    """Hold a running gateway to its SLA: load by Locust, a verdict, a report to sign.

    `lupine bench --help` tells everything.
    """
    become(
        "bench",
        "benchmarks",
        context.args,
        needed=("benchmarks", "locust", "hdrh"),
        extra="bench",
        status=_USAGE,
    )
