"""How a model gets into a repository that somebody may be serving from."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.catalog import find
from models.configuration import config_text
from models.package import publish

SPEC = find("digits")


def everything(root: Path) -> dict[str, int]:
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}


def test_a_new_model_appears_whole(tmp_path: Path) -> None:
    """Exactly the model and its configuration are there, and no staging is left behind."""
    path = publish(tmp_path / "repository", SPEC, b"model")
    assert path.read_bytes() == b"model"
    assert set(everything(tmp_path)) == {
        "repository/digits/1/model.onnx",
        "repository/digits/config.pbtxt",
    }
    assert (path.parent.parent / "config.pbtxt").read_text() == config_text(SPEC)
    assert list(tmp_path.iterdir()) == [tmp_path / "repository"]


def test_the_same_model_is_not_touched(tmp_path: Path) -> None:
    """Publishing the same bytes again leaves every file as old as it was, so nobody reloads."""
    publish(tmp_path / "repository", SPEC, b"model")
    before = everything(tmp_path)
    publish(tmp_path / "repository", SPEC, b"model")
    assert everything(tmp_path) == before


def test_a_changed_model_is_replaced(tmp_path: Path) -> None:
    """Other bytes replace the model's file; the configuration, unchanged, stays as it was."""
    publish(tmp_path / "repository", SPEC, b"model")
    before = everything(tmp_path)
    path = publish(tmp_path / "repository", SPEC, b"another")
    assert path.read_bytes() == b"another"
    config = "repository/digits/config.pbtxt"
    assert everything(tmp_path)[config] == before[config]


def test_a_missing_version_is_added(tmp_path: Path) -> None:
    """A model of which only the configuration is there, as after a clone, gets its version."""
    path = publish(tmp_path / "repository", SPEC, b"model")
    path.unlink()
    path.parent.rmdir()
    assert publish(tmp_path / "repository", SPEC, b"model").read_bytes() == b"model"


def test_a_repository_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in the repository's place is reported as such, and nothing is left behind."""
    (tmp_path / "repository").write_text("not a folder")
    with pytest.raises(FileExistsError):
        publish(tmp_path / "repository", SPEC, b"model")
    assert [p.name for p in tmp_path.iterdir()] == ["repository"]
