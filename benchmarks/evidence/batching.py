"""Policies of batching and of admission, compared in virtual time by `python -m service.simulator`.

The simulator drives the gateway's own rules, and what other servers do, against the same arrivals.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from benchmarks.harness.gateway import ROOT
from benchmarks.harness.record import Evidence

Cell: TypeAlias = Mapping[str, Any]
_OURS, _LEARNED, _EVERYBODY, _LIMIT = "ours", "learned", "everybody", "limit "
_FAR = 8  # times too small, and too large
_ENOUGH = 0.9  # of what could be answered in time


def main() -> int:
    """Simulate, print and record."""
    evidence = Evidence("batching", "a simulated engine: no model is run")
    command = [sys.executable, "-m", "service.simulator"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    cells: list[Cell] = json.loads(done.stdout)
    _policies(evidence, [cell for cell in cells if cell["table"] == "policies"])
    _admission(evidence, [cell for cell in cells if cell["table"] == "admission"])
    _fairness(evidence, [cell for cell in cells if cell["table"] == "fairness"])
    evidence.raw["cells"] = cells
    return evidence.finish()


def _groups(cells: Sequence[Cell], *keys: str) -> Mapping[tuple[Any, ...], list[Cell]]:
    found: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        found.setdefault(tuple(cell[key] for key in keys), []).append(cell)
    return found


def _policies(evidence: Evidence, cells: Sequence[Cell]) -> None:
    for (engine, arrivals, load), row in _groups(cells, "engine", "arrivals", "load").items():
        evidence.add(
            f"{engine}, {arrivals}, {load:g} x capacity: goodput, p50, p99 (÷ SLO), rows, refused",
            "\n".join(
                f"{cell['name']:>10}: {cell['goodput']:.2f}, {cell['p50']:.2f}, {cell['p99']:.2f}, "
                f"{cell['rows']:.1f}, {cell['refused'] + cell['dropped']:.2f} "
                f"within {cell['told']:.2f}"
                for cell in row
            ),
        )
        for cell in row:
            if cell["name"] == _OURS and arrivals == "poisson" and load > 1:
                evidence.add(
                    f"ours, {engine}, {load:g} x: goodput ÷ capacity",
                    f"{cell['goodput']:.2f}",
                    f"≥ {_ENOUGH}",
                    holds=cell["goodput"] >= _ENOUGH,
                )
                evidence.add(
                    f"ours, {engine}, {load:g} x: p99 of the answers ÷ SLO",
                    f"{cell['p99']:.2f}",
                    "≤ 1",
                    holds=cell["p99"] <= 1,
                )


def _admission(evidence: Evidence, cells: Sequence[Cell]) -> None:
    doors: dict[str, list[float]] = {}
    best = ""
    for (engine, load, arrivals), row in _groups(cells, "engine", "load", "arrivals").items():
        by = {cell["name"]: cell for cell in row}
        limits = [name for name in by if name.startswith(_LIMIT)]
        hindsight = max(limits, key=lambda name: by[name]["goodput"])
        if "," not in engine:
            best = hindsight  # as it is tuned: for one row, Poisson, at 1.3 times the capacity
        rows = int(best.removeprefix(_LIMIT))
        shown = {
            "everybody": by[_EVERYBODY],
            f"tuned before ({rows})": by[best],
            f"too small ({rows // _FAR})": by.get(f"{_LIMIT}{rows // _FAR}"),
            f"too large ({rows * _FAR})": by.get(f"{_LIMIT}{rows * _FAR}"),
            f"best in hindsight ({hindsight.removeprefix(_LIMIT)})": by[hindsight],
            "learned": by[_LEARNED],
        }
        evidence.add(
            f"admission, {engine}, {arrivals}, {load:g} x: goodput, p99 ÷ SLO",
            "\n".join(
                f"{name:>24}: {cell['goodput']:.2f}, {cell['p99']:.2f}"
                for name, cell in shown.items()
                if cell is not None
            ),
        )
        for name, cell in by.items():
            doors.setdefault(name, []).append(cell["goodput"])
    limits = [name for name in doors if name.startswith(_LIMIT)]
    one = max(limits, key=lambda name: float(np.mean(doors[name])))
    for name in (_EVERYBODY, one, _LEARNED):
        found = doors[name]
        evidence.add(
            f"admission, {len(found)} scenarios of two models: {name}",
            f"goodput {np.mean(found):.2f} on average, {min(found):.2f} at worst",
        )


def _fairness(evidence: Evidence, cells: Sequence[Cell]) -> None:
    for (engine, load), row in _groups(cells, "engine", "load").items():
        turn, line = row
        evidence.add(
            f"a connection with 0.9 of all requests, {engine}, {load:g} x: share answered",
            f"in turn: it {turn['greedy']:.2f}, the others {turn['calm']:.2f}; as they come: all "
            f"{1 - line['refused'] - line['dropped']:.2f}; "
            f"goodput {turn['goodput']:.2f}, {line['goodput']:.2f}",
        )


if __name__ == "__main__":
    sys.exit(main())
