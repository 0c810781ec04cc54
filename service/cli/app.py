"""The tree of the `lupine` command.

Its modules import nothing heavy at the top, so that `lupine --help` answers at once: each command
imports what it works with when it runs.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from service.cli import bench, config, doctor, making, models, screen, serve, sync
from service.errors import LupineError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command()(serve.serve)
app.command()(serve.triton)
app.add_typer(models.app, name="models")
app.add_typer(sync.app, name="sync")
for program in (making.export, making.publish, bench.bench):
    app.command(
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": [],  # the program answers --help itself
        }
    )(program)
app.command()(doctor.doctor)
app.add_typer(config.app, name="config")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's signature of a callback
    if wanted:
        typer.echo(f"lupine {version('lupine-gateway')}")
        raise typer.Exit


@app.callback()
def lupine(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Lupine, the gateway that serves your models: BentoML in front of Triton."""


def main() -> None:
    """Run the command; what it cannot do it says in one line on stderr, and exits with 1."""
    try:
        app(prog_name="lupine")
    except LupineError as error:
        screen.complain(error.message)
        raise SystemExit(1) from None
