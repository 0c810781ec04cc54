"""A whole run: the peers are installed, started by turns, and measured cell by cell."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from benchmarks.harness import mlp
from benchmarks.peers import cells, k6
from benchmarks.peers.cells import Cell, Session
from benchmarks.peers.environment import CannotInstallError, install
from benchmarks.peers.measure import WrongAnswerError, measure, warm
from benchmarks.peers.peer import Peer
from benchmarks.peers.server import PeerError, Served, serving
from benchmarks.peers.state import State
from benchmarks.run import BenchError


@dataclass(slots=True)
class Outcome:
    """What a run came to, besides its cells.

    Args:
        absent: by peer, why it takes no part: it cannot be installed, or does not start.
        troubled: cells that could not be measured, and why; its peer's others of the same session
            are missing with it.
        wrong: answers that were wrong.
    """

    absent: dict[str, str] = field(default_factory=dict)
    troubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def installed(peers: Sequence[Peer], console: Console, outcome: Outcome) -> list[Peer]:
    """Those peers whose packages are there now; the others' reasons go into the outcome."""
    found = []
    for peer in peers:
        if peer.environment:
            console.print(f"{peer.title}: {' '.join(peer.environment.requirements)}")
            try:
                install(peer.environment)
            except CannotInstallError as error:
                outcome.absent[peer.name] = str(error)
                continue
        found.append(peer)
    return found


def k6_installed(outcome: Outcome) -> bool:
    """Whether k6 can be had; if not, the outcome says why."""
    try:
        install(k6.ENVIRONMENT)
    except CannotInstallError as error:
        outcome.absent["k6"] = str(error)
        return False
    return True


def run(
    sessions: Sequence[Session], state: State, seconds: float, console: Console, outcome: Outcome
) -> None:
    """Measure what the state does not have yet.

    Args:
        sessions: of the whole run.
        state: takes every cell as soon as it is measured.
        seconds: of load in each cell.
        console: shows how far it is.
        outcome: takes what goes wrong.
    """
    total = sum(len(session.cells) for session in sessions)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with (
        tempfile.TemporaryDirectory(prefix="peers-model-") as scratch,
        Progress(*columns, console=console) as progress,
    ):
        mlp.repository(Path(scratch), triton_batches=False)
        model = Path(scratch) / "mlp" / "1" / "model.onnx"
        task = progress.add_task("peers", total=total, completed=len(state.done))
        turn = _Turn(model, state, seconds, progress, task, outcome)
        for whole in cells.left(sessions, state.done):
            for session in cells.without([whole], outcome.absent.__contains__):
                turn.take(session)


@dataclass(frozen=True, slots=True)
class _Turn:
    """Runs sessions, one after the other."""

    model: Path
    state: State
    seconds: float
    progress: Progress
    task: TaskID
    outcome: Outcome

    def take(self, session: Session) -> None:
        """Start a session's peers, measure its cells, end its peers."""
        with ExitStack() as stack:
            served = {peer.name: one for peer in session.peers if (one := self._start(peer, stack))}
            for cell in session.cells:
                if cell.peer in served and not self._measured(cell, served):
                    del served[cell.peer]  # it runs to the end of the session, and idles
                self.progress.advance(self.task)

    def _start(self, peer: Peer, stack: ExitStack) -> Served | None:
        self.progress.update(self.task, description=f"{peer.title}: starting")
        try:
            served = stack.enter_context(serving(peer, self.model))
            for wire, sizes in peer.closed.items():
                warm(served, wire, min(sizes))
        except (PeerError, RuntimeError) as error:
            self.outcome.absent[peer.name] = str(error)
            return None
        return served

    def _measured(self, cell: Cell, served: Mapping[str, Served]) -> bool:
        one = served[cell.peer]
        beside = [other for other in served.values() if other is not one]
        load = cell.load
        what = f"round {cell.round}: {one.peer.title}, {load.kind} {load.wire} {load.size}"
        self.progress.update(self.task, description=what)
        try:
            self.state.add(cell, measure(one, cell, beside, self.seconds))
        except WrongAnswerError as error:
            self.outcome.wrong.append(f"{what}: {error}")
        except (PeerError, BenchError, RuntimeError) as error:
            self.outcome.troubled.append(f"{what}: {error}")
        else:
            return True
        return False
