"""What a guardian leaves for its successor: the tritonserver that it started last.

Killed with SIGKILL it cannot tidy up. The kernel then ends tritonserver (`tritonserver.start`), and
the next guardian ends what is left of its group and removes its shared memory.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

_FILE = "tritonserver.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A tritonserver that was started.

    Args:
        pid: the process, which leads a session.
        started: when, in clock ticks since the machine's start.
        shm_prefix: what the names of its regions in /dev/shm begin with.
        epoch: how many the gateway has started, this one included.
    """

    pid: int
    started: int
    shm_prefix: str
    epoch: int


def read(run_dir: Path) -> Record | None:
    """The last one, or None before the first."""
    try:
        return Record(**json.loads((run_dir / _FILE).read_text()))
    except FileNotFoundError:
        return None


def write(run_dir: Path, record: Record) -> None:
    """Put it down, whole or not at all."""
    staged = run_dir / f"{_FILE}.next"
    staged.write_text(json.dumps(asdict(record)))
    staged.replace(run_dir / _FILE)


def remove(run_dir: Path) -> None:
    """Forget it: nothing of it is left."""
    (run_dir / _FILE).unlink(missing_ok=True)
