"""How much CPU processes have used, as the kernel counts it."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil

_SCHEDULED = 2  # the clock that the scheduler keeps: user and system time, in nanoseconds


def seconds(processes: Iterable[psutil.Process]) -> float:
    """User and system time of all their threads so far, those that have ended included.

    The figures of /proc come in steps of 10 ms; the clock of a process has none. Its number is made
    as the kernel's MAKE_PROCESS_CPUCLOCK does. Source: include/linux/posix-timers.h, and
    clock_getcpuclockid(3).

    Raises:
        OSError: one of them has ended.
    """
    return sum(time.clock_gettime((~process.pid << 3) | _SCHEDULED) for process in processes)
