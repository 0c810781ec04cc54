"""`lupine sync`: what MLflow's aliases say is what is served."""
# ruff: noqa: PLC0415 - `lupine --help` must answer at once, so commands import when they run

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli import screen
from service.cli.options import Repository
from service.errors import ConfigurationError

if TYPE_CHECKING:
    from service.registry.state import StateFolder
    from service.registry.sync import Report, Sync
    from service.settings import Settings

_PATIENCE = 60.0  # seconds that one waits for another who syncs
_LIFELINE_SECONDS = 0.5
_JITTER = 0.2  # of the pause, either way: many gateways do not ask at once

app = typer.Typer(no_args_is_help=True)

_Url = Annotated[
    str | None,
    typer.Option(
        "--url", help="The gateway's HTTP.", show_default="as in the settings", metavar="URL"
    ),
]


@app.callback()
def sync() -> None:
    """Bring the repository, and the gateway that serves it, to what MLflow's aliases say.

    `MLFLOW_TRACKING_URI` names the registry, MLflow's own variables the credentials. A version is
    fetched, checked, tried out in a process of its own, loaded beside the others, and only then
    does the alias go there. What serves keeps serving, whatever goes wrong.
    """


@app.command()
def once(*, repository: Repository = None, url: _Url = None) -> None:
    """Sync once, and try again what was refused. Exits 1 if something is wrong.

    For example:

    - `MLFLOW_TRACKING_URI=http://127.0.0.1:5000 lupine sync once`
    """
    with _syncing(repository, url) as (syncing, _, folder), folder.locked(_PATIENCE):
        report = syncing.once(again=True)
    _tell(report)
    if not report.done and not report.wrong:
        typer.echo("everything is as the registry says")
    raise typer.Exit(1 if report.wrong else 0)


@app.command()
def watch(
    *,
    repository: Repository = None,
    url: _Url = None,
    beside: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Sync again and again, until SIGTERM or Ctrl-C. Says what it does, and each trouble once.

    MLflow's webhook, where the gateway takes it, cuts the pause short. `lupine serve` runs this by
    itself where `MLFLOW_TRACKING_URI` is set.

    For example:

    - `LUPINE_REGISTRY__POLL_SECONDS=5 lupine sync watch`
    """
    from service.registry.bell import Bell
    from service.registry.sync import Report
    from service.settings import REGISTRY

    ended = threading.Event()
    if beside is not None:  # a run folder: nobody syncs on for a gateway that has gone
        threading.Thread(target=_end_with, args=(beside,), daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    told: tuple[str, ...] = ()
    with _syncing(repository, url) as (syncing, settings, folder), folder.watching():
        typer.echo(f"syncing from {_shown(os.environ[REGISTRY])}")
        pause = settings.registry.poll_seconds
        bell = Bell(folder.path)
        while not ended.is_set():
            try:
                with folder.locked(_PATIENCE):
                    report = syncing.once()
            except (OSError, ConfigurationError) as error:  # a full disk: it may heal
                report = Report(done=(), wrong=(f"this sync was not ended: {error}",))
            news = tuple(one for one in report.wrong if one not in told)
            _tell(Report(done=report.done, wrong=news))
            if told and not report.wrong:
                typer.echo("all is well again")
            told = report.wrong
            bell.wait(pause * random.uniform(1 - _JITTER, 1 + _JITTER), ended)  # noqa: S311 - no secret


@app.command()
def status(*, repository: Repository = None, as_json: screen.AsJson = False) -> None:
    """Show what is synced, what each alias names, and what is wrong.

    For example:

    - `lupine sync status --json`
    """
    import msgspec

    from service.registry import beat, control

    _, folder = _folder(repository)
    if as_json:
        typer.echo(msgspec.json.encode(control.status(folder.path)).decode())
        return
    state = folder.read()
    rows = [
        (
            name,
            ", ".join(f"{alias} → {version}" for alias, version in sorted(model.routes.items())),
            ", ".join(sorted(model.versions, key=int)),
            f"{model.canary.version}: {model.canary.share:.2%}" if model.canary else "",
            f"{model.shadow.version}: {model.shadow.share:.2%}" if model.shadow else "",
            ", ".join(f"{alias} not to {bad}" for alias, bad in sorted(model.held.items())),
        )
        for name, model in sorted(state.models.items())
    ]
    screen.table(("model", "aliases", "versions here", "canary", "shadow", "rolled back"), rows)
    for where, refusal in sorted(state.refused.items()):
        typer.echo(f"{where} is refused: {refusal.reason}")
    if state.registry:
        typer.echo(f"the registry: {state.registry}")
    if last := beat.read(folder.path).at:
        typer.echo(f"the last look at the registry was {time.time() - last:.0f} s ago")


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model.")],
    *,
    alias: Annotated[str, typer.Option(metavar="ALIAS", help="The alias.")] = "champion",
    repository: Repository = None,
    url: _Url = None,
) -> None:
    """Let an alias name the version that it named before. Nothing is downloaded.

    The alias is moved in the registry too; where that does not answer, its word is left aside until
    it names yet another version.

    For example:

    - `lupine sync rollback digits`
    """
    with _syncing(repository, url) as (syncing, _, folder), folder.locked(_PATIENCE):
        report = syncing.roll_back(name, alias)
    _tell(report)


@contextmanager
def _syncing(
    repository: Path | None, url: str | None
) -> Iterator[tuple[Sync, Settings, StateFolder]]:
    from service.registry import control

    settings, folder = _folder(repository)
    with (
        screen.stderr().status("syncing") as spinner,
        control.opened(settings, folder, url, spinner.update) as syncing,
    ):
        yield syncing, settings, folder


def _folder(repository: Path | None) -> tuple[Settings, StateFolder]:
    from service.cli.effective import effective
    from service.registry.state import StateFolder
    from service.repository.routes import folder_of

    settings, _ = effective({"repository.path": repository})
    return settings, StateFolder(folder_of(settings.repository))


def _tell(report: Report) -> None:
    for line in report.done:
        typer.echo(line)
    for line in report.wrong:
        screen.complain(line)


def _end_with(run_dir: Path) -> None:
    """End this process, wherever it is, when a gateway has: the next sync goes on from there."""
    from service.runner import lifeline

    while not lifeline.is_gone(run_dir):
        time.sleep(_LIFELINE_SECONDS)
    os._exit(0)


def _shown(url: str) -> str:
    """A registry's address without what may be a password in it."""
    import httpx

    return str(httpx.URL(url).copy_with(userinfo=b""))
