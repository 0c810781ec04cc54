from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import ConfigurationError, NotFoundError
from service.repository import layout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two models, and things that are none."""
    root = tmp_path / "repository"
    for folder in ("digits/1", "digits/10", "digits/9", "a.b-c_D/1", ".staged/1", "with space/1"):
        (root / folder).mkdir(parents=True)
    (root / "file").write_text("")
    (root / "linked").symlink_to(root / "digits")
    return root


def test_a_repository_is_a_folder(repository: Path) -> None:
    """Anything else is refused with what would be right."""
    layout.check_repository(repository)
    for other in (repository / "nowhere", repository / "file"):
        with pytest.raises(ConfigurationError) as refused:
            layout.check_repository(other)
        assert str(other) in refused.value.message
        assert "--repository" in refused.value.message


def test_models_are_folders_with_plain_names(repository: Path) -> None:
    """Files, links and hidden or odd folders are none."""
    assert layout.model_names(repository) == ["a.b-c_D", "digits"]


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("digits", True), ("_d", True), ("7", True), ("a.b-c", True), ("x" * 200, True),
        ("", False), (".hidden", False), ("-flag", False), ("..", False), ("a/b", False),
        ("a b", False), ("a\n", False), ("é", False), ("a@b", False), ("x" * 201, False),
        ("a\0", False),
    ],
)  # fmt: skip
def test_a_model_name_is_letters_digits_and_three_marks(
    name: str,
    fits: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """At most 200, and nothing that a path or an alias would read otherwise."""
    assert layout.is_model_name(name) is fits


def test_a_model_is_found_by_its_name(repository: Path) -> None:
    """Its folder is inside the repository."""
    assert layout.model_folder(repository, "digits") == repository / "digits"


@pytest.mark.parametrize("name", ["nope", "file", "linked", "..", "../etc", "", "x\0", "x" * 5000])
def test_what_is_no_model_is_not_found(repository: Path, name: str) -> None:
    """No name leads outside, and no link is followed."""
    with pytest.raises(NotFoundError) as refused:
        layout.model_folder(repository, name)
    assert "no model" in refused.value.message
    assert len(refused.value.message) < 300


def test_versions_are_whole_numbers_in_order(repository: Path) -> None:
    """Ascending as numbers; anything else in the folder is no version."""
    folder = repository / "digits"
    for other in ("0", "01", "9.tmp-x", "x", "-1", "²", "1" * 19):
        (folder / other).mkdir()
    (folder / "7").write_text("")
    (folder / "8").symlink_to(folder / "9")
    assert layout.versions(folder) == [1, 9, 10]
