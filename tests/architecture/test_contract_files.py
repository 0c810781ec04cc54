"""The shape of the project, as its documents promise it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("service", "models", "benchmarks", "examples", "tests")
    for path in (ROOT / folder).rglob("*.py")
)


def test_every_adr_is_in_the_list_of_decisions() -> None:
    """A decision that nobody finds was not recorded."""
    listed = set(re.findall(r"\((\d{4}-[a-z0-9-]+\.md)\)", _read("docs/adr/0000-record.md")))
    written = {path.name for path in (ROOT / "docs/adr").glob("*.md")} - {"0000-record.md"}
    assert listed == written


def test_links_between_documents_lead_somewhere() -> None:
    """A relative link in any document names a file that is there."""
    broken = [
        f"{document.relative_to(ROOT)} → {target}"
        for document in (
            *ROOT.glob("*.md"),
            *(ROOT / "docs").rglob("*.md"),
            *(ROOT / "examples").glob("*.md"),
        )
        for target in re.findall(r"\]\(([^)#\s]+)\)", document.read_text())
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert not broken


def test_the_layers_in_the_documents_are_those_that_are_enforced() -> None:
    """ARCHITECTURE.md and .importlinter tell the same story."""
    contract = _read(".importlinter").partition("layers =\n")[2].partition("\n\n")[0]
    enforced = [line.strip() for line in contract.splitlines()]
    drawn = _read("ARCHITECTURE.md").partition("```\nbent")[2].partition("```")[0]
    told = [re.split(r"\s{2,}", line)[0] for line in f"bent{drawn}".splitlines()]
    assert told == enforced


@pytest.mark.parametrize("path", SOURCES, ids=[str(p.relative_to(ROOT)) for p in SOURCES])
def test_a_module_holds_one_concept(path: Path) -> None:
    """About 300 lines each, and no room for what has no name."""
    if path.is_relative_to(ROOT / "service"):
        assert len(path.read_text().splitlines()) <= 360
    assert path.stem not in {"utils", "helpers", "manager", "common", "misc"}


def test_the_packages_of_both_twins_are_pinned_alike() -> None:
    """ONNX Runtime has one version, whichever environment it is in."""
    versions = set(
        re.findall(r"onnxruntime(?:-gpu)?==([0-9.]+)", _read("pyproject.toml"))
        + re.findall(r"^onnxruntime==([0-9.]+)", _read("constraints.txt"), re.MULTILINE)
        + re.findall(r"onnxruntime==([0-9.]+)", _read("service/runner/build.py"))
    )
    assert len(versions) == 1


def _read(name: str) -> str:
    return (ROOT / name).read_text()
