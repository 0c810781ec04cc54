"""What the command shows: tables, and on a terminal what is being done and for how long."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from models.behaviour import Finding
from models.making import Made

_STDERR = Console(stderr=True)
_STDOUT = Console(width=None if sys.stdout.isatty() else 140)  # a pipe cuts nothing short


def tell(made: Sequence[Made], *, as_json: bool) -> None:
    """The models that were made, and what was proven of each."""
    if as_json:
        print(json.dumps([dataclasses.asdict(one) for one in made], indent=1))
        return
    if not made:
        print("nothing to make: every model is as its sources say")
        return
    table = Table("model", "bytes", "tolerance", "1 row, ms", "32 rows, ms", "tests", "sha256", "")
    for one in made:
        table.add_row(
            one.model,
            f"{one.bytes:,}",
            f"{one.tolerance:g}",
            f"{one.milliseconds['1']:.3g}",
            f"{one.milliseconds['32']:.3g}",
            str(one.tests),
            one.sha256[:12],
            _origin(one),
        )
    _STDOUT.print(table)
    for one in made:
        print(one.path)
        if one.tensorrt:
            print(f"  {one.tensorrt}")


def _origin(made: Made) -> str:
    if made.reproduced:
        return "as recorded"
    differs = ", ".join(f"{name} {a} → {b}" for name, (a, b) in made.differs.items())
    return f"not the recorded bytes: {differs or 'its sources have changed'}"


@contextmanager
def busy(what: str) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being done, and for how long; gives what changes the words."""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=_STDERR,
        transient=True,
        disable=not _STDERR.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda words: bar.update(task, description=words)


def findings(found: Sequence[Finding], *, as_json: bool) -> None:
    """What the tests of behaviour found."""
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in found], indent=1))
        return
    table = Table("", "kind", "test", "said")
    for one in found:
        table.add_row("passed" if one.passed else "FAILED", one.kind, one.name, one.said)
    _STDOUT.print(table)
