from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.repository.survey import Finding, survey


def only(repository: Path) -> Finding:
    (found,) = survey(repository)
    return found


def model(repository: Path, name: str = "m", config: str = "", file: str = "model.onnx") -> Path:
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(config)
    (folder / "1" / file).write_bytes(b"graph")
    return folder


def test_a_sound_model_has_versions_and_no_problem(tmp_path: Path) -> None:
    """A config may be missing: the graph completes it."""
    (model(tmp_path) / "config.pbtxt").unlink()
    assert only(tmp_path) == Finding(name="m", versions=(1,))


def test_files_and_hidden_folders_beside_the_models_are_no_models(tmp_path: Path) -> None:
    """Repositories lie in git, and have a README."""
    (tmp_path / "README.md").touch()
    (tmp_path / ".git").mkdir()
    assert survey(tmp_path) == []


def test_a_folder_without_versions_says_what_is_expected(tmp_path: Path) -> None:
    """By example."""
    (tmp_path / "m").mkdir()
    assert "m/1" in only(tmp_path).problems[0]


def test_a_name_that_is_none_is_told(tmp_path: Path) -> None:
    """The gateway would leave it out without a word."""
    model(tmp_path, "my model")
    assert "no model name" in only(tmp_path).problems[0]


def test_links_are_told(tmp_path: Path) -> None:
    """They are not followed, neither to models nor to versions."""
    folder = model(tmp_path / "elsewhere")
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "linked").symlink_to(folder)
    assert "link" in only(repository).problems[0]
    (folder / "2").symlink_to(folder / "1")
    assert "2 is a link" in only(tmp_path / "elsewhere").problems[0]


@pytest.mark.parametrize("name", ["0", "01", "9.tmp-x", "1a"])
def test_folders_that_triton_may_take_for_versions_are_told(tmp_path: Path, name: str) -> None:
    """It reads the digits that a name begins with."""
    (model(tmp_path) / name).mkdir()
    assert f"the folder {name} is no version" in only(tmp_path).problems[0]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("max_batch_size: many", "config.pbtxt"),
        ('name: "other"', "names the model 'other'"),
        ("version_policy { specific { versions: 7 } }", "version_policy asks for [7]"),
        (
            'parameters { key: "lupine.batching" value { string_value: "fast" } }',
            "lupine.batching is 'fast'",
        ),
    ],
)
def test_a_config_that_cannot_be_used_is_told(tmp_path: Path, config: str, words: str) -> None:
    """With the words of who would refuse it."""
    model(tmp_path, config=config)
    assert words in only(tmp_path).problems[0]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("", "model.onnx"),
        ('backend: "onnxruntime"', "model.onnx"),
        ('platform: "onnxruntime_onnx"', "model.onnx"),
        ('platform: "tensorrt_plan"', "model.plan"),
        ('default_model_filename: "net.onnx"', "net.onnx"),
    ],
)
def test_the_file_is_looked_for_as_the_config_names_it(
    tmp_path: Path, config: str, name: str
) -> None:
    """A missing and an empty one are both told."""
    file = model(tmp_path, config=config, file=name) / "1" / name
    assert only(tmp_path).problems == ()
    file.write_bytes(b"")
    assert only(tmp_path).problems == (f"1/{name} is empty",)
    file.unlink()
    assert only(tmp_path).problems == (f"1/{name} is missing",)


def test_a_file_name_that_leads_out_is_told(tmp_path: Path) -> None:
    """It would not be opened."""
    model(tmp_path, config='default_model_filename: "../../m"')
    assert "leads out" in only(tmp_path).problems[0]


def test_an_ensemble_needs_no_file(tmp_path: Path) -> None:
    """It is made of others."""
    (model(tmp_path, config='platform: "ensemble"') / "1" / "model.onnx").unlink()
    assert only(tmp_path).problems == ()


def test_a_repository_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """With the reason of the kernel."""
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        survey(tmp_path / "nowhere")
