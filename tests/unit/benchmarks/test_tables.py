"""The tables of the page of figures are those of the records."""

from pathlib import Path

import pytest

from benchmarks.harness import tables
from benchmarks.harness.record import FOLDER, Evidence

PAGE = "before\n<!-- figures: {} -->\nold\n<!-- /figures -->\nafter\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    evidence = Evidence("a-topic", "none", folder=tmp_path)
    evidence.add("speed, 1 connection", "5")
    evidence.add("speed ÷ direct", "0.9", "≥ 0.8", holds=True)
    evidence.add("p99 ÷ direct", "1.4", "≤ 1.3", holds=False)
    evidence.finish()
    return tmp_path


def test_the_page_has_the_tables_of_the_records() -> None:
    page = tables.PAGE.read_text()

    assert tables.fill(page, FOLDER) == page
    assert "first-table" in tables.topics(page)


def test_a_table_has_what_was_measured_what_was_wanted_and_whether_it_holds(folder: Path) -> None:
    page = tables.fill(PAGE.format("a-topic"), folder)

    assert page.splitlines() == [
        "before",
        "<!-- figures: a-topic -->",
        "| | measured | must | |",
        "|---|---|---|---|",
        "| speed, 1 connection | 5 |  |  |",
        "| speed ÷ direct | 0.9 | ≥ 0.8 | holds |",
        "| p99 ÷ direct | 1.4 | ≤ 1.3 | **missed** |",
        "<!-- /figures -->",
        "after",
    ]
    assert tables.fill(page, folder) == page


def test_of_a_record_only_what_is_picked_is_shown(folder: Path) -> None:
    page = tables.fill(PAGE.format("a-topic ^speed,"), folder)

    assert page.splitlines()[2:5] == ["| | measured |", "|---|---|", "| speed, 1 connection | 5 |"]


def test_a_pick_of_nothing_is_an_error(folder: Path) -> None:
    with pytest.raises(ValueError, match="no figure of a-topic is called anything like 'latency'"):
        tables.fill(PAGE.format("a-topic latency"), folder)


def test_a_topic_without_a_record_is_an_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"other\.json"):
        tables.fill(PAGE.format("other"), folder)
