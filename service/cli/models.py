"""`lupine models`: what a running gateway serves; load and unload."""
# ruff: noqa: PLC0415 - `lupine --help` must answer at once, so commands import when they run

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

import typer

from service.cli import screen

URL = "http://127.0.0.1:3000"

app = typer.Typer()

_Url = Annotated[
    str | None,
    typer.Option("--url", help="The gateway, or a Triton's HTTP.", show_default=URL, metavar="URL"),
]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]


@app.callback(invoke_without_command=True)
def models(context: typer.Context, *, url: _Url = None, as_json: screen.AsJson = False) -> None:
    """List, load and unload the models of a running gateway. Alone it lists.

    Loading and unloading sends `LUPINE_ADMIN_KEY`, where it is set, as the bearer token.

    For example:

    - `lupine models`
    - `lupine models load digits`
    - `lupine models list --url http://gateway:3000 --json`
    """
    context.obj = (url or URL, as_json)
    if context.invoked_subcommand is None:
        _list(url or URL, as_json=as_json)


@app.command("list")
def list_models(
    context: typer.Context, *, url: _Url = None, as_json: screen.AsJson = False
) -> None:
    """List the models with state, versions, memory, and the reason for what is not READY.

    Memory is as Triton tells it. Where it does not, and the repository is on this machine, it is
    the size of the version's files, marked "on disk".

    For example:

    - `lupine models list`
    - `lupine models list --json | jq '.[] | select(.state != "READY")'`
    """
    before_url, before_json = context.obj
    _list(url or before_url, as_json=as_json or before_json)


@app.command()
def load(
    context: typer.Context, name: _Name, *, url: _Url = None, as_json: screen.AsJson = False
) -> None:
    """Load a model, or load it again from disk: every version that its config selects.

    For example:

    - `lupine models load digits`
    - `LUPINE_ADMIN_KEY=... lupine models load digits --url http://gateway:3000`
    """
    _control(context, name, "load", url, as_json=as_json)


@app.command()
def unload(
    context: typer.Context, name: _Name, *, url: _Url = None, as_json: screen.AsJson = False
) -> None:
    """Unload a model.

    For example:

    - `lupine models unload digits`
    """
    _control(context, name, "unload", url, as_json=as_json)


def _list(url: str, *, as_json: bool) -> None:
    from service.cli.effective import effective
    from service.cli.repository_client import RepositoryClient

    settings, _ = effective()
    with RepositoryClient(url, settings) as client:
        found = client.models()
    if as_json:
        screen.as_json(found)
        return
    if not found:
        screen.write(f"The repository of {url} holds no model.\n")
        return
    screen.table(
        ("model", "version", "state", "memory", "reason"),
        (
            (m["name"], m["version"], m["state"], _memory(m), " ".join(m["reason"].split()))
            for m in found
        ),
    )


def _memory(model: dict[str, object]) -> str:
    if isinstance(used := model["memory_bytes"], int):
        return screen.size(used)
    if isinstance(kept := model["disk_bytes"], int):
        return f"{screen.size(kept)} on disk"
    return "unknown" if model["state"] == "READY" else ""


def _control(
    context: typer.Context, name: str, verb: str, url: str | None, *, as_json: bool
) -> None:
    from service.cli.effective import effective
    from service.cli.repository_client import RepositoryClient

    before_url, before_json = context.obj
    settings, _ = effective()
    console = screen.stderr()
    working = console.status(f"{verb}ing {name} …") if console.is_terminal else nullcontext()
    with RepositoryClient(url or before_url, settings) as client:
        with working:
            (client.load if verb == "load" else client.unload)(name)
        versions = [m for m in client.models() if m["name"] == name]
    if as_json or before_json:
        screen.as_json(versions)
        return
    for model in versions:
        screen.write(" ".join(part for part in (name, model["version"], model["state"]) if part))
        screen.write("\n")
