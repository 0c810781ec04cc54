"""The peers' packages: a virtual environment each, made once."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.harness.gateway import ROOT
from benchmarks.peers.peer import Environment

FOLDER = ROOT / ".peers"
_STAMP = ".requirements"


class CannotInstallError(Exception):
    """An environment cannot be made here, and what pip said."""


def programs(environment: Environment) -> Path:
    """Where the environment's programs are, or will be."""
    return FOLDER / environment.name / "bin"


def install(environment: Environment) -> None:
    """Make an environment, if it is not there as it is wanted.

    Raises:
        CannotInstallError: it cannot be made, and why.
    """
    folder = FOLDER / environment.name
    stamp = folder / _STAMP
    wanted = stamp_of(environment)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *environment.requirements])
    stamp.write_text(wanted)


def stamp_of(environment: Environment) -> str:
    """What makes one environment another."""
    return "\n".join((platform.python_version(), *environment.requirements, ""))


def version(environment: Environment) -> str:
    """The version of what the environment is for, as it is pinned."""
    return environment.requirements[0].partition("==")[2]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise CannotInstallError(lines[-1] if lines else f"exit status {done.returncode}")
