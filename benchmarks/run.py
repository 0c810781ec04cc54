"""A whole benchmark: look at the gateway, run every repetition by Locust, judge, report."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import report, result, sla_file, verdict, workloads
from benchmarks import sla as slas
from benchmarks.harness.gateway import free_port
from benchmarks.load import variables
from benchmarks.quick import quick
from benchmarks.sla import Sla
from benchmarks.subject import Subject, look
from benchmarks.verdict import Outcome

STATUS = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 2}
USAGE = 3
LOCUSTFILE = Path(__file__).with_name("locustfile.py")
_POLL_SECONDS = 0.2
_WORKERS_SECONDS = 60  # that the processes of a generator may take to start
_STOP_SECONDS = 30.0
_MARGIN_SECONDS = 300.0


class BenchError(Exception):
    """The benchmark cannot be run as it was asked for: what is wrong, and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says.

    Args:
        sla: the SLA file.
        url: of the gateway's HTTP.
        grpc_url: of its gRPC, `host:port`.
        out: folder for the report; made, or empty.
        quick: one short repetition.
        baseline: the folder of an earlier report, to be compared with.
        processes: of the generator; 0 for what the SLA says.
        remote: further options for Locust's master, where workers run elsewhere.
        backend: what runs the models, in the user's words.
    """

    sla: Path
    url: str
    grpc_url: str
    out: Path
    quick: bool = False
    baseline: Path | None = None
    processes: int = 0
    remote: Sequence[str] = field(default_factory=tuple)
    backend: str = ""


def run(options: Options, console: Console) -> verdict.Verdict:
    """Measure, judge, and write the report.

    Raises:
        SlaError: the SLA cannot be used.
        BenchError: the folder or the baseline cannot be used, or Locust does not run.
    """
    sla = sla_file.load(options.sla)
    if options.quick:
        sla = quick(sla)
    workloads.check(sla, options.sla)
    claim(options.out)
    _keep_baseline(options)
    subject = look(sla, options.url, options.grpc_url, options.backend)
    console.print(f"[bold]{sla.title}[/bold]: {subject.line()}", highlight=False)
    if sla.untried:
        console.print(f"not tried in so short a run: {', '.join(sla.untried)}", highlight=False)
    if subject.dead:
        console.print(f"[red]{subject.problem}[/red]: only a short run to show it")
        options, sla = replace(options, quick=True), quick(sla)
    for number in range(1, sla.repetitions + 1):
        if not repeat(options, sla, number, console):
            break
    return conclude(options, sla, subject)


def conclude(options: Options, sla: Sla, subject: Subject) -> verdict.Verdict:
    """Judge what lies in the folder, and write the report beside it."""
    repetitions = result.read(options.out)
    found = verdict.judge(sla, repetitions, result.baseline(options.out))
    document = report.Document(
        tool=version("lupine-gateway"),
        sla=slas.masked(sla),
        verdict=found,
        environment=subject.environment(),
        targets=report.summarise(sla, repetitions),
        raw=result.digests(options.out),
    )
    report.write(options.out, document, repetitions)
    return found


def _keep_baseline(options: Options) -> None:
    """Lay the baseline's raw data beside ours, so that the report can be verified by itself."""
    if options.baseline is None:
        return
    try:
        result.read(options.baseline)
        for run_folder in options.baseline.glob("run-*"):
            shutil.copytree(run_folder, options.out / result.BASELINE / run_folder.name)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise BenchError(f"--baseline {options.baseline} holds no report: {error}") from None


def claim(out: Path) -> None:
    """Make the folder; nobody's files are overwritten."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise BenchError(f"--out {out} is not empty: name a new folder")
    except OSError as error:
        raise BenchError(f"--out {out}: {error.strerror}") from None


def command(options: Options, sla: Sla, number: int, progress: Path) -> list[str]:
    """Locust's command line for one repetition."""
    processes = options.processes or sla.processes
    found = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    found += ["--host", options.url, "--grpc-url", options.grpc_url, "--loglevel", "WARNING"]
    found += ["--results", str(options.out), "--repetition", str(number)]
    found += ["--progress", str(progress), *options.remote]
    if processes > 1:
        # Locust's own port is a fixed one, at every address: two runs would meet there.
        host, port = "127.0.0.1", str(free_port())
        found += ["--processes", str(processes), "--expect-workers-max-wait", str(_WORKERS_SECONDS)]
        found += ["--master-bind-host", host, "--master-bind-port", port]
        found += ["--master-host", host, "--master-port", port]
    return found


def _longest(sla: Sla) -> float:
    """Seconds that a repetition may take, however slow the machine is."""
    return _MARGIN_SECONDS + sla.warmup_seconds + sla.duration_seconds + 2 * sla.timeout_seconds


def repeat(options: Options, sla: Sla, number: int, console: Console) -> bool:
    """Run one repetition by Locust.

    Returns:
        False where Ctrl-C ended it early; what there was by then is written.

    Raises:
        BenchError: Locust left no result, and what it said.
    """
    folder = options.out / f"run-{number}"
    folder.mkdir()
    progress, log = folder / "progress.jsonl", folder / "locust.log"
    progress.touch()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command(options, sla, number, progress),
            env=variables.environment(options.sla, quick=options.quick),
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to pass on, once
        )
    whole = True
    written = folder / "run.json"
    # Processes that exit badly, or never start, must not keep whoever waits for the verdict.
    patience = math.inf if options.remote else _longest(sla)
    with _ended(process), Shown(sla, number, console) as shown, progress.open() as lines:
        try:
            until = time.monotonic() + patience
            while process.poll() is None and time.monotonic() < until:
                shown.update(lines)
                time.sleep(_POLL_SECONDS)
                if written.exists():
                    until = min(until, time.monotonic() + _STOP_SECONDS)
        except KeyboardInterrupt:
            whole = False
    progress.unlink()
    if not written.exists():
        tail = log.read_text(errors="replace")[-2000:]
        raise BenchError(
            f"Locust ended with status {process.returncode}, without a result:\n{tail}"
        )
    return whole


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens in the block, Locust ends; at Ctrl-C it writes what it has."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Shown:
    """The live view of one repetition: how far it is, and each target's p99 of the last seconds."""

    def __init__(self, sla: Sla, number: int, console: Console) -> None:
        self._total = sla.warmup_seconds + sla.duration_seconds
        self._label = f"run {number} of {sla.repetitions}"
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(40), TimeRemainingColumn(), console=console
        )
        self._task = self._bar.add_task(f"{self._label}: starting", total=self._total)
        self._live = Live(self._view([]), console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def update(self, lines: Any) -> None:
        """Show the latest line of the progress file."""
        last = ""
        while line := lines.readline():
            last = line
        if not last.endswith("\n"):
            return
        try:
            status = json.loads(last)
        except json.JSONDecodeError:  # the rest of a line that was half written a moment ago
            return
        phase = "warm-up" if status["elapsed"] < status["warmup"] else "measuring"
        if status["elapsed"] >= self._total:
            phase = "last answers"
        self._bar.update(
            self._task,
            completed=min(status["elapsed"], self._total),
            description=f"{self._label}: {phase}",
        )
        self._live.update(self._view(status["targets"]))

    def _view(self, targets: Sequence[dict[str, Any]]) -> Table:
        view = Table.grid(padding=(0, 2))
        view.add_row(self._bar)
        for target in targets:
            p99 = "—" if target["p99_ms"] is None else f"{target['p99_ms']:.1f} ms"
            failed = f", [red]{target['failed']} failed[/red]" if target["failed"] else ""
            view.add_row(f"  {target['name']}: p99 {p99}, {target['asked']} asked{failed}")
        return view
