"""Load from several hosts: a `lupine bench --master`, and a `--worker` on each of the others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.load import variables
from benchmarks.run import LOCUSTFILE


def master(workers: int, host: str, port: int) -> Sequence[str]:
    """What Locust's master is told besides: how many workers to wait for, and where to listen."""
    return (
        "--master",
        "--expect-workers",
        str(workers),
        "--master-bind-host",
        host,
        "--master-bind-port",
        str(port),
    )


def work(sla: Path, host: str, port: int, *, quick: bool) -> int:
    """Be a worker for one repetition after another, until no master is found any more.

    Args:
        sla: the same SLA file as the master's.
        host: where the master is.
        port: of the master.
        quick: as the master's.

    Returns:
        0 where at least one repetition was served, 1 where no master was found.
    """
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--worker"]
    command += ["--master-host", host, "--master-port", str(port), "--loglevel", "WARNING"]
    command += ["--exit-code-on-error", "0"]  # failed requests are the master's to judge
    environment = variables.environment(sla, quick=quick)
    served = 0
    while not subprocess.run(command, env=environment, check=False).returncode:
        served += 1
    return 0 if served else 1
