"""`python -m benchmarks`: what `lupine bench` runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import capacity, knee, remote, run, verify
from benchmarks import sla as slas
from benchmarks.run import STATUS, USAGE, BenchError, Options
from benchmarks.sla import SlaError
from benchmarks.verdict import Outcome, Verdict

_TYPERS_USAGE = 2
_COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.INCONCLUSIVE: "yellow"}

app = typer.Typer(
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

_SlaFile = Annotated[Path, typer.Option("--sla", help="What is promised, under which load.")]
_Url = Annotated[str, typer.Option("--url", help="The gateway's HTTP.")]
_GrpcUrl = Annotated[str, typer.Option("--grpc-url", help="Its gRPC.", metavar="HOST:PORT")]
_Processes = Annotated[
    int,
    typer.Option(min=0, max=256, help="Generator processes here.", show_default="as the SLA says"),
]
_Backend = Annotated[
    str, typer.Option(help="What runs the models, in words, for the report.", show_default=False)
]


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    *,
    sla: _SlaFile = slas.DEFAULT,
    url: _Url = "http://127.0.0.1:3000",
    grpc_url: _GrpcUrl = "127.0.0.1:3001",
    out: Annotated[
        Path, typer.Option(help="Folder for the report: new, or empty.", metavar="DIR")
    ] = Path("lupine-bench"),
    quick: Annotated[
        bool, typer.Option("--quick", help="One short run, half a minute at most.")
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="Folder of an earlier report, for limits of `regression`.", metavar="DIR"
        ),
    ] = None,
    processes: _Processes = 0,
    backend: _Backend = "",
    master: Annotated[
        bool, typer.Option("--master", help="Wait for workers on other hosts.")
    ] = False,
    expect_workers: Annotated[
        int, typer.Option(min=1, max=1000, help="With --master: how many.")
    ] = 1,
    master_bind_host: Annotated[
        str, typer.Option(help="With --master: address to listen on.")
    ] = "127.0.0.1",
    worker: Annotated[
        bool, typer.Option("--worker", help="Be such a worker, until the master has ended.")
    ] = False,
    master_host: Annotated[str, typer.Option(help="With --worker: where the master is.")] = (
        "127.0.0.1"
    ),
    master_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the master, on both sides.")
    ] = 5557,
) -> None:
    """Hold a running gateway to its SLA: open-loop load by Locust, a verdict, a report to sign.

    Latency counts from the moment at which a request was due, whether or not it could be sent then.
    Exit status: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 the command line or the SLA file is wrong.

    For example:

    - `lupine bench --out reports/2026-11-25`
    - `lupine bench --sla my-sla.toml --url http://gateway:3000 --grpc-url gateway:3001`
    - `lupine bench --quick` in CI
    - `lupine bench --baseline reports/last-release --out reports/this-one`
    - `lupine bench --master --expect-workers 2 --master-bind-host 0.0.0.0`, and on two other hosts
      `lupine bench --worker --master-host HOST`
    - `lupine bench verify reports/2026-11-25`: derive the verdict again, from the raw data
    - `lupine bench capacity`: how much can this gateway take?
    """
    if context.invoked_subcommand is not None:
        return
    if worker:
        raise Ended(remote.work(sla, master_host, master_port, quick=quick))
    if master and processes:
        raise BenchError("--processes are workers here, --master has them elsewhere: drop one")
    options = Options(
        sla=sla,
        url=_checked(url),
        grpc_url=_address(grpc_url),
        out=out,
        quick=quick,
        baseline=baseline,
        processes=processes,
        backend=backend,
        remote=remote.master(expect_workers, master_bind_host, master_port) if master else (),
    )
    console = Console(stderr=True)
    found = run.run(options, console)
    _print(found, out)
    raise Ended(STATUS[found.outcome])


@app.command("verify")
def verify_command(
    folder: Annotated[Path, typer.Argument(help="Of a report.", metavar="DIR")],
) -> None:
    """Derive the verdict of a report again, from its raw histograms, and compare.

    Exit status: that of the verdict; 3 where the folder does not agree with itself, and why.
    """
    found = verify.verify(folder)
    _print(found, folder)
    raise Ended(STATUS[found.outcome])


@app.command("capacity")
def capacity_command(
    *,
    sla: _SlaFile = slas.DEFAULT,
    url: _Url = "http://127.0.0.1:3000",
    grpc_url: _GrpcUrl = "127.0.0.1:3001",
    out: Annotated[
        Path, typer.Option(help="Folder for the report: new, or empty.", metavar="DIR")
    ] = Path("lupine-capacity"),
    target: Annotated[
        str, typer.Option(help="Name of the target whose load is raised.", show_default="the first")
    ] = "",
    users: Annotated[
        int, typer.Option(min=1, max=10_000_000, help="How many users are to be served.")
    ] = 2000,
    think_seconds: Annotated[
        float, typer.Option(min=0.001, max=86_400, help="Each asks once in so many seconds.")
    ] = 1.0,
    step_seconds: Annotated[
        float, typer.Option(min=2, max=3600, help="How long each load is held.")
    ] = 10.0,
    processes: _Processes = 0,
    backend: _Backend = "",
) -> None:
    """Raise the load step by step until the promise breaks: what this host sustains.

    Exit status: 0 where the knee was found, 2 where the generator gave up first, 3 a wrong call.

    For example:

    - `lupine bench capacity --target 'digits, HTTP binary' --users 2000 --think-seconds 10`
    """
    options = Options(
        sla=sla,
        url=_checked(url),
        grpc_url=_address(grpc_url),
        out=out,
        processes=processes,
        backend=backend,
    )
    asked = knee.Asked(
        target=target, users=users, think_seconds=think_seconds, step_seconds=step_seconds
    )
    raise Ended(capacity.run(options, asked, Console(stderr=True)))


@app.command("schema")
def schema_command() -> None:
    """Print the JSON schema of an SLA file, as `benchmarks/sla.schema.json` has it."""
    typer.echo(json.dumps(slas.schema(), indent=1, sort_keys=True))


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise BenchError(f"--url {url!r}: http://HOST:PORT is expected")
    return url.rstrip("/")


def _address(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit()):
        raise BenchError(f"--grpc-url {address!r}: HOST:PORT is expected")
    return address


def _print(found: Verdict, folder: Path) -> None:
    """The verdict on the terminal: a table, and the sentence that is signed."""
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("target", "promise", "measured", "bounds", ""):
        table.add_column(column, overflow="fold")
    for target in found.targets:
        for claim in target.claims:
            low, high, measured = (
                "∞" if value is None else f"{value:.4g}"
                for value in (claim.low, claim.high, claim.measured)
            )
            colour = _COLOURS[claim.outcome]
            table.add_row(
                target.name,
                f"{claim.name} {claim.limit:g} {claim.unit}",
                measured,
                f"{low} – {high}",  # noqa: RUF001 - a range is written with a dash
                f"[{colour}]{claim.outcome}[/{colour}]",
            )
    console.print(table)
    for doubt in found.doubts:
        where = f"{doubt.target}: " if doubt.target else ""
        console.print(f"[yellow]![/yellow] {where}{doubt.what} — {doubt.advice}", highlight=False)
    word, _, sentence = found.summary.partition(" ")
    colour = _COLOURS[found.outcome]
    console.print(f"[bold {colour}]{word}[/bold {colour}] {sentence}", highlight=False)
    console.print(f"report: {folder / 'report.html'}", highlight=False)


class Ended(Exception):  # noqa: N818 - no error: 2 has a meaning of ours, and Typer's is another
    """The command has ended, with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def main() -> NoReturn:
    """Run the command; what cannot be run as it was asked for ends with status 3."""
    try:
        app(prog_name="lupine bench")
    except Ended as ended:
        sys.exit(ended.status)
    except (SlaError, BenchError) as error:
        sys.stderr.write(f"lupine bench: {error}\n")
        sys.exit(USAGE)
    except SystemExit as ended:
        sys.exit(USAGE if ended.code == _TYPERS_USAGE else ended.code)
    sys.exit(0)


if __name__ == "__main__":
    main()
