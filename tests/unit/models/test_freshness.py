"""A model is made again when what it declares has changed, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models import freshness, manifest
from models.catalog import NAMES, find
from models.freshness import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what models are made from, and of some that they are not."""
    for part in ("models", "docs"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("constraints.txt", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def stale(root: Path) -> dict[str, list[str]]:
    changed = {name: freshness.changes(manifest.load(name), root) for name in NAMES}
    return {name: changes for name, changes in changed.items() if changes}


def append(path: Path, text: str = "\n# another word\n") -> None:
    path.write_text(path.read_text() + text)


def test_a_fresh_clone_is_fresh(checkout: Path) -> None:
    """Contents count, not dates: a copy of a minute ago needs no training."""
    assert stale(checkout) == {}


def test_documentation_retrains_nothing(checkout: Path) -> None:
    """A change of the docs, of a test of behaviour or of publishing makes nothing stale."""
    append(checkout / "README.md")
    append(checkout / "docs" / "glossary.md")
    append(checkout / "models" / "publishing.py")
    append(checkout / "models" / "behaviour" / "digits.toml")
    assert stale(checkout) == {}


@pytest.mark.parametrize(
    ("path", "models"),
    [
        ("models/digits.py", {"digits"}),
        ("models/uci_digits.py", {"digits"}),
        ("models/deliveries.py", {"delivery_eta"}),
        ("models/parcel_router.py", {"parcel_router"}),
        ("models/silero_vad.py", {"silero_vad"}),
        ("models/determinism.py", {"delivery_eta", "digits"}),
        ("models/training.py", {"delivery_eta", "digits"}),
        ("models/wheel.py", {"magika", "silero_vad"}),
    ],
)
def test_training_code_retrains_exactly_its_models(
    checkout: Path, path: str, models: set[str]
) -> None:
    """A change of a model's code makes that model stale, and says which file it was."""
    append(checkout / path)
    found = stale(checkout)
    assert found.keys() == models
    assert all(changes == [f"{path} has changed"] for changes in found.values())


def test_a_package_retrains_what_it_makes(checkout: Path) -> None:
    """Another scikit-learn concerns the models that it trains, not those of torch alone."""
    pins = checkout / "constraints.txt"
    version = manifest.load("digits")["packages"]["scikit-learn"]
    pins.write_text(pins.read_text().replace(f"scikit-learn=={version}", "scikit-learn==99.1"))
    found = stale(checkout)
    assert found.keys() == {"digits", "parcel_router"}
    assert found["digits"] == [f"scikit-learn {version} is pinned at 99.1 now"]


def test_a_file_that_is_gone_is_a_change(checkout: Path) -> None:
    """What a model was made from and is not there any more is told."""
    (checkout / "models" / "uci_digits.py").unlink()
    assert stale(checkout) == {"digits": ["models/uci_digits.py is gone"]}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_model_imports_it_declares(name: str) -> None:
    """No file of `models/` that a module takes numbers from is left out of its sources.

    The rest that it may import decides no byte: types, golden cases' comparison, hashes.
    """
    innocent = {"specification", "verify", "manifest", "voices"}
    source = (ROOT / "models" / f"{name}.py").read_text()
    imported = {
        line.split()[1].removeprefix("models.")
        for line in source.splitlines()
        if line.startswith("from models.")
    }
    imported |= {
        module
        for line in source.splitlines()
        if line.startswith("from models import ")
        for module in line.removeprefix("from models import ").split(", ")
    }
    declared = {Path(path).stem for path in find(name).sources}
    assert imported - innocent <= declared
