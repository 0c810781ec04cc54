"""Marks in a run folder."""

from __future__ import annotations

from pathlib import Path

from service.runner import marks


def test_the_first_mark_of_a_name_stays(tmp_path: Path) -> None:
    """Who comes second learns it, and changes nothing."""
    assert not marks.there(tmp_path, marks.FAILED)
    assert marks.leave(tmp_path, marks.FAILED, "one")
    assert not marks.leave(tmp_path, marks.FAILED, "two")
    assert marks.there(tmp_path, marks.FAILED)
    assert (tmp_path / marks.FAILED).read_text() == "one"


def test_a_mark_in_a_folder_that_is_gone_is_left_out(tmp_path: Path) -> None:
    """Nobody is there who would read it."""
    assert not marks.leave(tmp_path / "gone", marks.STOPPING)
    assert not marks.there(tmp_path / "gone", marks.STOPPING)
