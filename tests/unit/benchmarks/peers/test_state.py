from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers.cells import Cell, Kind, Load
from benchmarks.peers.peer import Wire
from benchmarks.peers.state import Conditions, Found, State, StateError, raw

CONDITIONS = Conditions(commit="abc1234", seconds=4.0)
ONE = Cell(1, "triton", Load(Kind.CLOSED, Wire.GRPC, 128))
TWO = Cell(1, "mosec", Load(Kind.K6, Wire.JSON, 100))
SLOW = Found(rate=1.5, p50_ms=2.0, p99_ms=None, failed=1, asked=7)
FAST = Found(rate=100.0, p50_ms=1.0, p99_ms=3.0, failed=0, asked=400, prompt_rate=99.0)


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """What was measured before is there again."""
    path = tmp_path / "new" / "state.jsonl"
    State(path, CONDITIONS).add(ONE, SLOW)
    again = State(path, CONDITIONS)
    assert again.done == {ONE: SLOW}
    again.add(TWO, FAST)
    assert State(path, CONDITIONS).done == {ONE: SLOW, TWO: FAST}


def test_a_line_that_was_half_written_does_not_count(tmp_path: Path) -> None:
    """And the next cell does not end up behind it."""
    path = tmp_path / "state.jsonl"
    state = State(path, CONDITIONS)
    state.add(ONE, SLOW)
    state.add(TWO, FAST)
    path.write_bytes(path.read_bytes()[:-9])
    again = State(path, CONDITIONS)
    assert again.done == {ONE: SLOW}
    again.add(TWO, FAST)
    assert State(path, CONDITIONS).done == {ONE: SLOW, TWO: FAST}


def test_nothing_measured_leaves_nothing(tmp_path: Path) -> None:
    """A run that ends before its first cell binds no later one."""
    path = tmp_path / "state.jsonl"
    assert State(path, CONDITIONS).done == {}
    assert not path.exists()


@pytest.mark.parametrize(
    "other", [Conditions(commit="def5678", seconds=4.0), Conditions(commit="abc1234", seconds=1.0)]
)
def test_cells_of_other_conditions_are_not_mixed_in(tmp_path: Path, other: Conditions) -> None:
    """Other code, or other durations: the user is told what to do."""
    path = tmp_path / "state.jsonl"
    State(path, CONDITIONS).add(ONE, SLOW)
    with pytest.raises(StateError, match="--fresh"):
        State(path, other)


def test_the_record_holds_every_cell() -> None:
    """In order, with words for everything."""
    first, second = raw({TWO: FAST, ONE: SLOW})
    assert (first["peer"], first["wire"], first["prompt_rate"]) == ("mosec", "http-json", 99.0)
    assert (second["peer"], second["kind"], second["p99_ms"]) == ("triton", "closed", None)
