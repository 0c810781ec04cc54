"""What has been measured so far: a line of JSON a cell, so that an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.peers.cells import Cell


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one cell measured; milliseconds, answers a second.

    Args:
        rate: good answers a second.
        p50_ms: of the latency; None where there was no answer.
        p99_ms: likewise.
        failed: requests without a good answer.
        asked: requests that were sent, or due.
        cpu_us: the peer's CPU time for an answer, in microseconds; None where there was none.
        rss_mib: resident when it ended.
        idle_cpu: cores that the idle peers beside it kept busy meanwhile.
        prompt_rate: good answers a second within the limit; of k6's alone.
        unsent: requests that were due and found no caller free.
        late_p99_ms: how late our own generator sent, by its own fault.
    """

    rate: float
    p50_ms: float | None
    p99_ms: float | None
    failed: int
    asked: int
    cpu_us: float | None = None
    rss_mib: float = 0.0
    idle_cpu: float = 0.0
    prompt_rate: float | None = None
    unsent: int = 0
    late_p99_ms: float | None = None


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What must be the same for all cells of a run.

    Args:
        commit: of this checkout.
        seconds: each cell takes.
    """

    commit: str
    seconds: float


class _Line(msgspec.Struct, kw_only=True):
    cell: Cell
    found: Found


class StateError(Exception):
    """The state file is another run's: what differs, and what can be done."""


class State:
    """The state file.

    Args:
        path: of the file; made with the first cell.
        conditions: of this run.

    Raises:
        StateError: the file was begun under other conditions.
    """

    def __init__(self, path: Path, conditions: Conditions) -> None:
        self._path = path
        self._conditions = conditions
        self._done: dict[Cell, Found] = {}
        # The last line is half written where the run was interrupted while writing.
        lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
        if not lines:
            return
        begun = msgspec.json.decode(lines[0], type=Conditions)
        if begun != conditions:
            raise StateError(
                f"{path.name} was begun under {_told(begun)}; this is {_told(conditions)}: "
                "--fresh measures anew"
            )
        for text in lines[1:]:
            line = msgspec.json.decode(text, type=_Line)
            self._done[line.cell] = line.found

    @property
    def done(self) -> Mapping[Cell, Found]:
        """What has been measured."""
        return self._done

    def add(self, cell: Cell, found: Found) -> None:
        """Keep what a cell measured."""
        if not self._done:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(msgspec.json.encode(self._conditions) + b"\n")
        self._done[cell] = found
        with self._path.open("r+b") as file:
            # Behind the last whole line.
            whole = file.read().rfind(b"\n") + 1
            file.seek(whole)
            file.truncate()
            file.write(msgspec.json.encode(_Line(cell=cell, found=found)) + b"\n")


def raw(done: Mapping[Cell, Found]) -> list[dict[str, Any]]:
    """All of it, for the record."""
    return [
        {
            "round": cell.round,
            "peer": cell.peer,
            "kind": cell.load.kind.value,
            "wire": cell.load.wire.value,
            "size": cell.load.size,
            **{name: _short(value) for name, value in msgspec.to_builtins(found).items()},
        }
        for cell, found in sorted(done.items())
    ]


def _short(value: float | None) -> float | None:
    return round(value, 3) if isinstance(value, float) else value


def _told(conditions: Conditions) -> str:
    return f"commit {conditions.commit}, {conditions.seconds:g} s a cell"
