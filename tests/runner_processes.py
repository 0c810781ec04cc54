"""Processes for the tests of guardian and lifelines: `python runner_processes.py ROLE ARGUMENT…`.

`supervisor RUN_DIR REPOSITORY RUNTIME` does what BentoML's does with us: holds its lifeline, starts
a guardian, and ends in peace at SIGTERM. `worker RUN_DIR SECONDS` holds the workers' lifeline,
waits for the supervisor's end, and takes SECONDS to drain.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path

from service.errors import ConfigurationError
from service.runner import launch, lifeline
from service.settings import Settings


def supervisor(run_dir: str, repository: str, runtime: str) -> int:
    """See above."""
    settings = Settings.model_validate(
        {"repository": {"path": repository}, "triton": {"runtime": runtime, "start_seconds": 60}}
    )
    stop_asked = []
    signal.signal(signal.SIGTERM, lambda number, _: stop_asked.append(number))
    let_go = launch.hold_lifeline(Path(run_dir))
    try:
        launch.start_guardian(Path(run_dir), settings)
    except ConfigurationError as error:
        say(f"cannot start: {error.message}")
        return 1
    say("ready")
    while not stop_asked:
        time.sleep(0.02)
    let_go()
    return 0


def worker(run_dir: str, seconds: str) -> int:
    """See above."""
    with lifeline.hold(Path(run_dir), lifeline.WORKERS):
        say("ready")
        asyncio.run(lifeline.gone(Path(run_dir)))
        say("draining")
        time.sleep(float(seconds))
        say("drained")
    return 0


def say(what: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    sys.exit(supervisor(*arguments) if role == "supervisor" else worker(*arguments))
