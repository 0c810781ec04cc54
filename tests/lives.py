"""Whether a process is there still."""

from __future__ import annotations

import psutil


def lives(process: psutil.Process) -> bool:
    """Whether it has not ended; it may end between two looks at it. A zombie has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
