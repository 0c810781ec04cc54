"""What the commands write: Rich tables for people, JSON for scripts, one line for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

_PIPE_WIDTH = 200  # where nobody looks at a terminal, nothing is cut short at its width

_STYLES = {
    "READY": "green",
    "ok": "green",
    "note": "cyan",
    "warning": "yellow",
    "LOADING": "yellow",
    "UNLOADING": "yellow",
    "wrong": "bold red",
    "UNAVAILABLE": "red",
}


def complain(message: str) -> None:
    """One line on stderr: what was wrong, and what would be right."""
    sys.stderr.write(f"lupine: {' '.join(message.split())}\n")


def stderr() -> Console:
    """For what is no result: spinners."""
    return Console(stderr=True)


def write(text: str) -> None:
    """A result as it is."""
    sys.stdout.write(text)


def as_json(value: Any) -> None:
    """A result for scripts."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A result for people. Cells are plain text; words that name a state get its colour."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        found.add_column(column, overflow="fold")
    for row in rows:
        found.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    console.print(found)


def size(count: int) -> str:
    """Bytes as people write them: `1.4 MiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004 - the step between units
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
