"""What a topic leaves behind: a table on the terminal, and `docs/evidence/<topic>.json`."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

FOLDER = Path(__file__).parents[2] / "docs" / "evidence"
_PACKAGES = (
    "bentoml",
    "tritonclient",
    "onnxruntime",
    "numpy",
    "scipy",
    "uvicorn",
    "uvloop",
    "httptools",
    "locust",
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: what was measured, what was wanted, and whether it holds.

    `holds` is None where the figure has no target.
    """

    name: str
    measured: str
    target: str = ""
    holds: bool | None = None


@dataclass(slots=True)
class Evidence:
    """Collects the figures of one topic.

    Args:
        topic: as `make evidence-<topic>` names it.
        backend: what ran the models, in full, as every headline of speed must say.
        command: that reproduces it, where it is not `make evidence-<topic>`.
        folder: for the record.
    """

    topic: str
    backend: str
    figures: list[Figure] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    folder: Path = FOLDER

    def add(
        self, name: str, measured: object, target: str = "", *, holds: bool | None = None
    ) -> None:
        """Add a figure."""
        self.figures.append(Figure(name, str(measured), target, holds))

    def fault(self, what: str) -> None:
        """A wrong, lost or swapped answer: the run fails."""
        self.wrong.append(what)

    def finish(self) -> int:
        """Print, write, and return the exit status: 1 for a wrong answer, 0 for a missed target."""
        table = Table("figure", "measured", "target", "", title=f"{self.topic} — {self.backend}")
        for figure in self.figures:
            mark = {None: "", True: "holds", False: "MISSED"}[figure.holds]
            cells = (figure.name, figure.measured, figure.target, mark)
            table.add_row(*map(Text, cells))  # brackets are no markup
        console = Console(width=140)
        console.print(table)
        for what in self.wrong[:20]:
            console.print(f"[red]WRONG[/red] {what}", markup=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.topic}.json"
        path.write_text(json.dumps(self._document(), indent=1, sort_keys=True) + "\n")
        missed = [figure.name for figure in self.figures if figure.holds is False]
        console.print(
            f"{len(self.wrong)} wrong answers; missed: {', '.join(missed) or 'none'}; "
            f"written to {self.folder.parent.name}/{self.folder.name}/{path.name}"
        )
        return 1 if self.wrong else 0

    def _document(self) -> Mapping[str, Any]:
        return {
            "topic": self.topic,
            "backend": self.backend,
            "command": self.command or f"make evidence-{self.topic}",
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": commit(),
            "host": host(),
            "versions": {name: version(name) for name in _PACKAGES},
            "figures": [asdict(figure) for figure in self.figures],
            "wrong": self.wrong,
            "raw": self.raw,
        }


def host() -> Mapping[str, Any]:
    """What kind of machine this is; not which one."""
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    return {
        "cpu": " / ".join(sorted(models)),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
    }


def commit() -> str:
    """Of this checkout, and whether tracked files differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=False
        ).stdout.strip()

    changed = "+changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median and range, as every figure of several runs is given."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    return f"{middle:.{digits}f} ({ordered[0]:.{digits}f}–{ordered[-1]:.{digits}f})"  # noqa: RUF001 - a range is written with a dash
