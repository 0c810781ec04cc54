"""What a worker tells its gateway."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.runner import marks, roll, worker
from service.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A run folder on whose roll this process is."""
    held = roll.enter(tmp_path)
    yield tmp_path
    os.close(held)


def chosen(workers: int) -> Settings:
    """Settings of a gateway of so many workers."""
    return Settings.model_validate({"server": {"workers": workers}, "engine": {"kind": "echo"}})


def test_the_last_worker_to_be_ready_says_so_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever is started later, in place of another, says nothing and leaves nothing."""
    worker.announce(chosen(1), folder)
    assert "(echo, 1 workers)" in capsys.readouterr().err
    (folder / "ready" / str(os.getpid())).unlink()
    worker.announce(chosen(1), folder)
    assert capsys.readouterr().err == ""
    assert list((folder / "ready").iterdir()) == []


def test_a_worker_that_was_ready_and_died_counts_for_nobody(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the gateway would call itself ready while one is missing."""
    (folder / "ready").mkdir()
    (folder / "ready" / "1").touch()
    worker.announce(chosen(2), folder)
    assert capsys.readouterr().err == ""
    assert not marks.there(folder, marks.ANNOUNCED)
