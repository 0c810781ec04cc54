"""The shared memory of Triton's Python stubs: named so that what a killed server leaves is found.

tritonserver makes one region in /dev/shm for each stub and removes it when it stops. Killed with
SIGKILL it cannot, so each server gets a prefix of its own, which names the process that keeps it.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

_FOLDER = Path("/dev/shm")  # noqa: S108 - where the kernel keeps it, not a scratch folder of ours
_NAME = re.compile(r"lupine-\d+-[0-9a-f]{8}-")


def new_prefix() -> str:
    """A prefix that no other server has, naming this process as its owner."""
    return f"lupine-{os.getpid()}-{secrets.token_hex(4)}-"


def sweep(prefix: str, folder: Path = _FOLDER) -> int:
    """Remove the regions of a server that has ended. Returns how many there were.

    Args:
        prefix: what `new_prefix` gave.
        folder: where the regions are.
    """
    if not _NAME.fullmatch(prefix):
        raise ValueError(f"{prefix!r} is not a prefix of ours")
    regions = list(folder.glob(f"{prefix}*")) if folder.is_dir() else []
    for region in regions:
        region.unlink(missing_ok=True)
    return len(regions)
