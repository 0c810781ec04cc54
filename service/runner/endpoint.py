"""Where the managed tritonserver listens: one file in the run folder, there while it is ready."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "triton.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A tritonserver that has become ready.

    Args:
        grpc: its addresses, each HOST:PORT.
        http: see `grpc`.
        metrics: see `grpc`; the path is /metrics.
        pid: its process.
        epoch: how many the gateway has started, this one included: a new server has a higher one.
    """

    grpc: str
    http: str
    metrics: str
    pid: int
    epoch: int


def read(run_dir: Path) -> Endpoint | None:
    """The server that is ready, or None while there is none."""
    try:
        text = (run_dir / FILE).read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Endpoint(**json.loads(text))


def write(run_dir: Path, endpoint: Endpoint) -> None:
    """Publish the server; readers see the old one or this, never half a file."""
    staged = run_dir / f"{FILE}.{os.getpid()}"
    staged.write_text(json.dumps(asdict(endpoint)))
    staged.replace(run_dir / FILE)


def remove(run_dir: Path) -> None:
    """Take the server back; nothing happens where there is none."""
    (run_dir / FILE).unlink(missing_ok=True)
