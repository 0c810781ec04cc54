"""The private folder of a gateway."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.runner import lifeline, run_folder
from service.settings import Settings


def settings(**sections: object) -> Settings:
    """Settings with what is named."""
    return Settings.model_validate(sections)


def test_a_run_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """Sockets and locks live there."""
    folder = run_folder.prepare(settings(run_dir=tmp_path / "run"))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_run_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    """It is not made private behind the operator's back."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o755)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        run_folder.prepare(settings(run_dir=tmp_path / "run"))


def test_a_run_folder_with_strange_contents_is_refused(tmp_path: Path) -> None:
    """It is removed when the gateway ends: nobody's files may be in it."""
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "run" / "thesis.tex").touch()
    with pytest.raises(ConfigurationError, match="no gateway's"):
        run_folder.prepare(settings(run_dir=tmp_path / "run"))
    assert (tmp_path / "run" / "thesis.tex").exists()


def test_a_run_folder_in_use_is_refused(tmp_path: Path) -> None:
    """Two gateways in one folder would take each other's state."""
    (tmp_path / "run").mkdir(mode=0o700)
    lifeline.create(tmp_path / "run")
    with (
        lifeline.hold(tmp_path / "run", lifeline.SUPERVISOR),
        pytest.raises(ConfigurationError, match="another gateway uses"),
    ):
        run_folder.prepare(settings(run_dir=tmp_path / "run"))


def test_what_a_killed_gateway_left_is_cleared(tmp_path: Path) -> None:
    """Its word of being ready would otherwise stand for the new one."""
    (tmp_path / "run").mkdir(mode=0o700)
    lifeline.create(tmp_path / "run")
    (tmp_path / "run" / "announced").touch()
    (tmp_path / "run" / "ready").mkdir()
    (tmp_path / "run" / "ready" / "1234").touch()
    folder = run_folder.prepare(settings(run_dir=tmp_path / "run"))
    assert [entry.name for entry in folder.iterdir()] == ["prepared.pid"]


def test_a_folder_that_this_process_prepared_is_left_as_it_is(tmp_path: Path) -> None:
    """`lupine serve` prepares it, puts BentoML's home there, and becomes `bentoml serve`."""
    chosen = settings(run_dir=tmp_path / "run")
    (run_folder.prepare(chosen) / "bentoml").mkdir()
    assert (run_folder.prepare(chosen) / "bentoml").is_dir()


def test_the_mark_of_a_dead_process_with_the_same_number_counts_for_nothing(tmp_path: Path) -> None:
    """In a container the gateway that starts again often has the number of the one that died."""
    (tmp_path / "run").mkdir(mode=0o700)
    lifeline.create(tmp_path / "run")
    (tmp_path / "run" / "prepared.pid").write_text(f"{os.getpid()} 1.5")
    (tmp_path / "run" / "announced").touch()
    folder = run_folder.prepare(settings(run_dir=tmp_path / "run"))
    assert not (folder / "announced").exists()
