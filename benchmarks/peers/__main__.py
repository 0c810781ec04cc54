"""The command line: `python -m benchmarks.peers --rounds 5`."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence

from rich.console import Console

from benchmarks.harness.record import FOLDER as EVIDENCE
from benchmarks.harness.record import commit
from benchmarks.peers import cells, environment, report
from benchmarks.peers.run import Outcome, installed, k6_installed, run
from benchmarks.peers.state import Conditions, State, StateError
from benchmarks.peers.table import PEERS

ROUNDS = 5
SECONDS = 4.0
_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and record. Returns the exit status: 1 for a wrong answer."""
    options = _parser().parse_args(arguments)
    # Else a SIGTERM would leave the servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=None if sys.stdout.isatty() else 140)
    missing = [tool for tool in ("wrk", "h2load") if shutil.which(tool) is None]
    if missing:
        console.print(f"{' and '.join(missing)} missing: `make system-deps` installs them")
        return _USAGE
    peers = [peer for peer in PEERS if not options.only or peer.name in options.only]
    trial = bool(options.only) or options.rounds < ROUNDS or options.seconds < SECONDS
    path = environment.FOLDER / ("trial.jsonl" if trial else "state.jsonl")
    if options.fresh:
        path.unlink(missing_ok=True)
    try:
        state = State(path, Conditions(commit=commit(), seconds=options.seconds))
    except StateError as error:
        console.print(str(error))
        return _USAGE
    outcome = Outcome()
    present = installed(peers, console, outcome)
    sessions = cells.plan(present, options.rounds, k6=k6_installed(outcome))
    todo = sum(len(session.cells) for session in cells.left(sessions, state.done))
    console.print(
        f"{len(state.done)} cells are there, {todo} to measure"
        if todo
        else f"all {len(state.done)} cells are there: --fresh measures anew"
    )
    run(sessions, state, options.seconds, console, outcome)
    folder = environment.FOLDER / "trial" if trial else EVIDENCE
    return report.write(peers, state.done, outcome, folder, trial=trial)


def _names(text: str) -> list[str]:
    names, known = text.split(","), {peer.name for peer in PEERS}
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(sorted(known))}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench-peers ARGS='…'", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--only", type=_names, default=[], help="PEER[,PEER…]; a trial")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"of each cell, default {SECONDS:g}"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what has been measured")
    return parser


if __name__ == "__main__":
    sys.exit(main())
