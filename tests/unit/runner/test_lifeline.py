"""Lifelines, held by real processes, on both event loops."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from service.runner import lifeline
from service.runner.lifeline import SUPERVISOR, WORKERS

_HOLD = """
import sys, pathlib
from service.runner import lifeline
held = lifeline.hold(pathlib.Path(sys.argv[1]), sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""
_PROMPT_SECONDS = 5

Holder = subprocess.Popen[bytes]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A folder with fresh lifelines."""
    lifeline.create(tmp_path)
    return tmp_path


@pytest.fixture
def holder(run_dir: Path) -> Iterator[Callable[[str], Holder]]:
    """Starts processes that hold a lifeline."""
    started: list[Holder] = []

    def start(name: str) -> Holder:
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(run_dir), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_killed_holder_is_noticed(
    run_dir: Path,
    holder: Callable[[str], Holder],
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """SIGKILL of the process that holds a lifeline wakes who watches it, not before."""
    process = holder(SUPERVISOR)

    async def watch() -> None:
        watching = asyncio.ensure_future(lifeline.gone(run_dir))
        await asyncio.sleep(0.1)
        assert not watching.done()
        process.send_signal(signal.SIGKILL)
        await asyncio.wait_for(watching, _PROMPT_SECONDS)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(watch())


async def test_the_last_holder_counts(run_dir: Path, holder: Callable[[str], Holder]) -> None:
    """With several holders, the watcher waits for all of them."""
    processes = [holder(WORKERS) for _ in range(3)]
    watching = asyncio.ensure_future(lifeline.gone(run_dir, WORKERS))
    for process in processes[:2]:
        process.kill()
        process.wait()
    await asyncio.sleep(0.1)
    assert not watching.done()
    assert not lifeline.is_gone(run_dir, WORKERS)
    processes[2].kill()
    await asyncio.wait_for(watching, _PROMPT_SECONDS)
    assert lifeline.is_gone(run_dir, WORKERS)


async def test_who_comes_too_late_knows_at_once(run_dir: Path) -> None:
    """A lifeline that nobody holds, or that has been removed, is gone from the start."""
    await asyncio.wait_for(lifeline.gone(run_dir, WORKERS), _PROMPT_SECONDS)
    await asyncio.wait_for(lifeline.gone(run_dir / "removed"), _PROMPT_SECONDS)
    assert lifeline.is_gone(run_dir / "removed")


async def test_a_watcher_can_be_cancelled(run_dir: Path) -> None:
    """Who stops watching leaves no open file and harms nobody else."""
    with lifeline.hold(run_dir, SUPERVISOR):
        one, other = (asyncio.ensure_future(lifeline.gone(run_dir)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.sleep(0.05)
        assert one.cancelled()
        assert not other.done()
    await asyncio.wait_for(other, _PROMPT_SECONDS)


def test_programs_that_a_holder_starts_do_not_hold_on(run_dir: Path) -> None:
    """The writing end is not inherited: a child that outlives the holder keeps nothing alive."""
    held = lifeline.hold(run_dir, SUPERVISOR)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        held.close()
        held.close()
        assert lifeline.is_gone(run_dir)
    finally:
        child.kill()
        child.wait()
