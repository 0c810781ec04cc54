"""What is handed to whoever signs: `report.html`, `report.json` and `junit.xml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import document as documents
from benchmarks.report import html, junit
from benchmarks.report.document import Document, Environment, Host, Model
from benchmarks.report.summary import summarise
from benchmarks.result import Repetition

__all__ = ["Document", "Environment", "Host", "Model", "summarise", "write"]


def write(folder: Path, document: Document, repetitions: Sequence[Repetition]) -> None:
    """Write all three files; those of an earlier report are replaced.

    Args:
        folder: that holds the raw data too.
        document: what is reported.
        repetitions: what was measured, for the plots.

    Raises:
        ValueError: a number in the document is infinite or none.
    """
    digest = documents.write(folder, document)
    (folder / "junit.xml").write_bytes(junit.render(document))
    (folder / "report.html").write_text(html.render(document, repetitions, digest), "utf-8")
