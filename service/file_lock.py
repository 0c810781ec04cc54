"""Whether somebody lives, by the kernel's lock on a file of his.

The kernel lets go of a lock when the process that holds it ends, by whatever death: unlike a
process id in a file, it cannot tell of somebody who is gone.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def is_held(path: Path) -> bool:
    """Whether a process holds the lock (flock) on a file; nobody does where there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
