"""What is read from h2load when each connection has so much to ask."""

from __future__ import annotations

import pytest

from benchmarks.harness.fixed_work import counted


def log(*answers: tuple[int, int]) -> str:
    """Lines of status and microseconds."""
    return "".join(f"17000000\t{status}\t{micros}\n" for status, micros in answers)


def test_where_all_are_answered_nothing_is_forgotten() -> None:
    """The milliseconds are those of the log."""
    found = counted(log((200, 1000), (200, 3000)), connections=2, each=1, patience=9.0)
    assert (found.asked, found.answered, found.refused, found.forgotten) == (2, 2, 0, 0)
    assert found.millis == (1.0, 3.0)


def test_a_connection_that_waits_in_vain_counts_once_with_its_whole_wait() -> None:
    """It never comes to ask for the rest."""
    found = counted(log(*[(200, 1000)] * 30), connections=2, each=30, patience=9.0)
    assert (found.asked, found.answered, found.forgotten) == (31, 30, 1)
    assert max(found.millis) == 9000.0
    assert found.quantile(0.5) == 1.0


def test_no_more_connections_are_forgotten_than_are_sure_to_be() -> None:
    """One that lacks a few answers and one that lacks all of them are told apart by their sum."""
    found = counted(log(*[(200, 1000)] * 31), connections=3, each=30, patience=9.0)
    assert found.forgotten == 2


def test_refusals_are_answers_but_not_good_ones() -> None:
    """And a line that was cut off is none."""
    found = counted(log((429, 10), (200, 20)) + "1700", connections=2, each=1, patience=9.0)
    assert (found.answered, found.refused, found.forgotten) == (1, 1, 0)


def test_an_empty_log_is_no_measurement() -> None:
    """The tool did not run."""
    with pytest.raises(ValueError, match="logged no request"):
        counted("", connections=2, each=1, patience=9.0)
