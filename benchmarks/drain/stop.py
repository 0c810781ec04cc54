"""SIGTERM to one gateway under load, and all that can be seen of its end."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.drain.load import WIRES, Load
from benchmarks.drain.readiness import NOT_READY, READY, REFUSED, Seen, probed
from benchmarks.harness.gateway import Running
from benchmarks.wires.exchange import Fate

_EXIT_SECONDS = 60.0
_AFTER_SECONDS = 0.5  # that nobody listens any more is watched for so long
_SHOWN = 100  # of what is lost, with times, in the record
_DRAINED = re.compile(r"drained in ([\d.]+) s: (\d+) requests? finished, (\d+) cut")


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop. Times are seconds after the signal; None: never."""

    exit_status: int | None
    exit_seconds: float
    left: list[str]
    run_folder_left: bool
    load: Load
    signalled: float
    probes: dict[str, Seen]
    log: str

    def drained(self) -> list[tuple[float, int, int]]:
        """What each worker says of its drain: seconds, requests finished, requests cut."""
        found = _DRAINED.findall(self.log)
        return [(float(took), int(finished), int(cut)) for took, finished, cut in found]

    def in_flight(self, wire: str) -> dict[str, int]:
        """Fates of what was under way at the signal."""
        return self.load.fates(wire, before=self.signalled, after=self.signalled)

    def sent_after(self, wire: str) -> dict[str, int]:
        """Fates of what was sent after the signal."""
        later = (e for e in self.load.events if e.wire == wire and e.sent >= self.signalled)
        return dict(Counter(event.fate.value for event in later))

    def answered(self) -> int:
        """Answers and refusals that came after the signal, as the callers count them."""
        kinds = (Fate.ANSWERED, Fate.REFUSED, Fate.FAILED)
        return sum(e.ended >= self.signalled and e.fate in kinds for e in self.load.events)

    def lost(self, wire: str) -> list[tuple[float, float]]:
        """When each lost request was sent, and when its caller knew."""
        return [
            (round(e.sent - self.signalled, 3), round(e.ended - self.signalled, 3))
            for e in self.load.events
            if e.wire == wire and e.fate is Fate.LOST
        ]

    def raw(self) -> dict[str, Any]:
        """For the record."""
        return {
            "exit_status": self.exit_status,
            "exit_seconds": round(self.exit_seconds, 3),
            "processes_left": self.left,
            "run_folder_left": self.run_folder_left,
            "drained": self.drained(),
            "log": [line for line in self.log.splitlines() if "lupine:" in line][-12:],
            **{wire: self._raw_of(wire) for wire in WIRES},
        }

    def _raw_of(self, wire: str) -> dict[str, Any]:
        tally, seen = self.load.tallies[wire], self.probes[wire]
        return {
            "accepted": tally.accepted,
            "fates": dict(tally.fates),
            "in_flight_at_signal": self.in_flight(wire),
            "sent_after_signal": self.sent_after(wire),
            "texts": dict(tally.texts),
            "lost_sent_and_ended": self.lost(wire)[:_SHOWN],
            "readiness": [[round(at - self.signalled, 3), state] for at, state in seen.changes],
            "probes": dict(seen.counts),
        }

    def not_ready(self, wire: str) -> float | None:
        """When readiness was first seen false: in words, not by a refused connection."""
        return self.probes[wire].first(self.signalled, NOT_READY)

    def first_non_ready(self, wire: str) -> float | None:
        """When a probe first saw anything but ready."""
        return self.probes[wire].first_not(self.signalled, READY)

    def ends_refused(self, wire: str) -> bool:
        """Whether connections were refused at last."""
        return self.probes[wire].changes[-1][1] == REFUSED


async def stop(running: Running, load: Load, *, after: float) -> Stop:
    """Load the gateway, signal its supervisor after so many seconds, and watch it end."""
    family = running.family()
    folder = Path(running.supervisor.environ()["LUPINE_RUN_DIR"])
    async with probed(running) as probes:
        loading = asyncio.create_task(load.run())
        await asyncio.sleep(after)
        signalled = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(_exit_status, running.process)
        took = time.monotonic() - signalled
        left = [_command(p) for p in family if p.is_running() and _state(p) != "zombie"]
        folder_left = await asyncio.to_thread(folder.exists)
        await asyncio.sleep(_AFTER_SECONDS)
        load.stop()
        await loading
    log = running.log.read_text(errors="replace")
    return Stop(status, took, left, folder_left, load, signalled, probes, log)


def _exit_status(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _state(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return "zombie"


def _command(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:100]}"
    except psutil.NoSuchProcess:
        return str(process.pid)
