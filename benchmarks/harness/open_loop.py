"""The benchmark's own open-loop generator against any server of the protocol, without a verdict.

`run` starts a process of it: it must not share an interpreter with anything else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
_PROCESS = "benchmarks.harness.open_loop_process"


@dataclass(frozen=True, slots=True)
class Load:
    """What happened to each request whose intended send was in the measured time; shape (N,).

    Args:
        latency: seconds from the intended send to the answer, whatever it was.
        fate: "" for a right answer, else what went wrong, such as "HTTP 429".
        late: seconds by which the generator itself was late.
        seconds: that were measured.
    """

    latency: np.ndarray[Any, Any]
    fate: np.ndarray[Any, Any]
    late: np.ndarray[Any, Any]
    seconds: float

    @property
    def right(self) -> np.ndarray[Any, Any]:
        """Latencies of the right answers, seconds."""
        return np.asarray(self.latency[self.fate == ""])

    def goodput(self, slo: float) -> float:
        """Right answers within so many seconds, per second."""
        return float((self.right <= slo).sum() / self.seconds)

    def quantile(self, share: float, fate: str = "") -> float:
        """Of the latencies with that fate, in seconds; NaN where there are none."""
        found = self.latency[self.fate == fate]
        return float(np.quantile(found, share)) if len(found) else float("nan")

    def counts(self) -> dict[str, int]:
        """How many met each fate."""
        fates, numbers = np.unique(self.fate, return_counts=True)
        return {str(fate): int(number) for fate, number in zip(fates, numbers, strict=True)}


def run(sla: str, url: str, grpc_url: str = "127.0.0.1:1") -> Load:
    """Send the load of an SLA file with one target, whose text is `sla`.

    Raises:
        RuntimeError: the generator could not, and what it said.
    """
    with tempfile.TemporaryDirectory(prefix="lupine-open-loop-") as scratch:
        folder = Path(scratch)
        (folder / "sla.toml").write_text(sla)
        command = [sys.executable, "-m", _PROCESS, str(folder), url, grpc_url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the generator ended with {done.returncode}: {done.stderr[-2000:]}")
        told = json.loads((folder / "told.json").read_text())
        rows = np.load(folder / "rows.npy")
    fates = np.array(told["fates"], np.str_)
    return Load(rows["latency"], fates[rows["fate"]], rows["late"], told["seconds"])
