"""Where a gateway that `bentoml serve` starts finds its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.runner import bundle


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A working directory, and a bento that has a repository and settings."""
    here, home = tmp_path / "here", tmp_path / "bento"
    here.mkdir()
    (home / "triton_repo").mkdir(parents=True)
    (home / "lupine.toml").write_text("[server]\nport = 4000\n")
    for name in ("LUPINE_REPOSITORY__PATH", "LUPINE_SERVER__PORT"):
        monkeypatch.delenv(name, raising=False)
    return here, home


def test_an_empty_folder_gets_what_the_bento_brings(places: tuple[Path, Path]) -> None:
    """Its settings and its repository, as a path that any process can open."""
    here, home = places
    found = bundle.load(here, home)
    assert found.repository.path == home / "triton_repo"
    assert found.server.port == 4000


def test_what_the_folder_has_comes_first(places: tuple[Path, Path]) -> None:
    """A repository or a `lupine.toml` of one's own replaces the bento's."""
    here, home = places
    (here / "triton_repo").mkdir()
    (here / "lupine.toml").write_text("[server]\nport = 5000\n")
    found = bundle.load(here, home)
    assert found.repository.path == here / "triton_repo"
    assert found.server.port == 5000


def test_a_path_in_the_environment_is_taken_as_it_is(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names a folder that is not there hears of it, and is not served another."""
    here, home = places
    monkeypatch.setenv("LUPINE_REPOSITORY__PATH", "triton_repo")
    assert bundle.load(here, home).repository.path == here / "triton_repo"


def test_a_bento_without_a_models_version_is_refused(tmp_path: Path) -> None:
    """It names the model, and what makes it."""
    (tmp_path / "triton_repo" / "magika").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"magika.*make setup"):
        bundle.check(tmp_path)
