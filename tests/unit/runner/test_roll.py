"""The roll, held by real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.runner import guardian, marks, roll
from service.runner.roll import Roll

_ENTER = """
import sys, pathlib
from service.runner import roll
held = roll.enter(pathlib.Path(sys.argv[1]))
print("there", flush=True)
sys.stdin.read()
"""

Worker = subprocess.Popen[bytes]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    """Starts processes that are on the roll."""
    started: list[Worker] = []

    def one() -> Worker:
        worker = subprocess.Popen(
            [sys.executable, "-c", _ENTER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(worker)
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"there\n"
        return worker

    yield one
    for worker in started:
        worker.kill()
        worker.communicate()


class Watch:
    """A roll that is looked at each second of a clock of ours."""

    def __init__(self, run_dir: Path, *, workers: int, guarded: bool) -> None:
        self._now = 0.0
        self._roll = Roll(run_dir, workers=workers, guarded=guarded, clock=lambda: self._now)

    def alive_after(self, seconds: int) -> bool:
        """What it says then."""
        for _ in range(seconds):
            self._now += 1
            self._roll.look()
        return self._roll.alive()


def test_a_worker_that_stays_away_is_missed(tmp_path: Path, start: Callable[[], Worker]) -> None:
    """Killed, it is missed when the patience is over; another in its place is as good."""
    marks.leave(tmp_path, marks.ANNOUNCED)
    mine = roll.enter(tmp_path)
    watch = Watch(tmp_path, workers=2, guarded=False)
    worker = start()
    assert watch.alive_after(100)
    worker.kill()
    worker.wait()
    assert watch.alive_after(30)
    assert not watch.alive_after(1)
    assert roll.present(tmp_path) == {str(os.getpid())}
    start()
    assert watch.alive_after(1)
    os.close(mine)


def test_nobody_is_missed_before_everybody_was_there(tmp_path: Path) -> None:
    """A start takes as long as it takes; nor at the end, which takes as long as the grace."""
    watch = Watch(tmp_path, workers=2, guarded=True)
    assert watch.alive_after(100)
    marks.leave(tmp_path, marks.ANNOUNCED)
    assert not watch.alive_after(31)
    marks.leave(tmp_path, marks.STOPPING)
    assert watch.alive_after(1)


def test_a_guardian_that_stays_away_is_missed(tmp_path: Path) -> None:
    """Where there is to be one."""
    marks.leave(tmp_path, marks.ANNOUNCED)
    mine = roll.enter(tmp_path)
    watch = Watch(tmp_path, workers=1, guarded=True)
    assert not watch.alive_after(31)
    lock = guardian.lock(tmp_path)
    assert watch.alive_after(1)
    os.close(lock)
    assert watch.alive_after(30)
    assert not watch.alive_after(1)
    os.close(mine)
