from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import environment, page, plots
from benchmarks.peers.cells import Cell, Kind, Load
from benchmarks.peers.peer import Environment, Wire
from benchmarks.peers.request import answer, plain, protocol, row
from benchmarks.peers.run import Outcome
from benchmarks.peers.server import right
from benchmarks.peers.state import Found
from benchmarks.peers.table import PEERS

JSON = Load(Kind.CLOSED, Wire.JSON, 64)
OFFERED = Load(Kind.K6, Wire.JSON, 100)
FOUND = Found(rate=100.0, p50_ms=1.0, p99_ms=3.0, failed=0, asked=400, prompt_rate=99.0)
DONE = {
    Cell(number, peer, load): FOUND
    for number in (1, 2)
    for peer in ("lupine-triton", "mosec")
    for load in (JSON, OFFERED)
}


def test_a_page_gets_the_fragment_between_its_markers() -> None:
    """What stands around it stays, however often it is written."""
    first = page.put("# Page\n\nbefore\n", "one\n")
    assert first == f"# Page\n\nbefore\n\n{page.BEGIN}\none\n{page.END}\n"
    assert page.put(first + "\nbehind\n", "two\n") == first.replace("one", "two") + "\nbehind\n"


def test_the_fragment_says_what_was_measured_and_what_was_not() -> None:
    """Ratios with targets, every load, and peers that took no part."""
    outcome = Outcome(absent={"ray": "no wheel"})
    text = page.fragment(PEERS, DONE, outcome, {"evidence/a.svg": "what"})
    assert "| JSON, 64 connections: ÷ mosec | 1.00 (1.00–1.00) | ≥ 0.9 | holds |" in text  # noqa: RUF001 - a range
    assert "| mosec, http-json, 64 connections | 100 (100–100) |" in text  # noqa: RUF001 - a range
    assert "| mosec | 100 | 100 | 99 |" in text
    assert "`ray` takes no part: no wheel" in text
    assert "![what](evidence/a.svg)" in text


def test_plots_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    """Nothing binary was measured: one plot, and it is the same each time."""
    drawn = plots.write(tmp_path / "evidence", PEERS, DONE)
    assert list(drawn) == ["evidence/peers-json.svg"]
    first = (tmp_path / "evidence" / "peers-json.svg").read_bytes()
    plots.write(tmp_path / "evidence", PEERS, DONE)
    assert (tmp_path / "evidence" / "peers-json.svg").read_bytes() == first


def test_another_requirement_is_another_environment() -> None:
    """A new pin makes it anew."""
    one, other = Environment("it", ("it==1.0",)), Environment("it", ("it==1.1",))
    assert environment.stamp_of(one) != environment.stamp_of(other)
    assert environment.version(other) == "1.1"


def test_peers_do_not_share_what_is_theirs() -> None:
    """Names are unique; one environment has one set of requirements."""
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    pins = {(p.environment.name, p.environment.requirements) for p in PEERS if p.environment}
    assert len(pins) == len({name for name, _ in pins})


def test_answers_are_held_to_what_the_model_makes_of_the_row() -> None:
    """In whichever form they come."""
    wanted = answer()[0]
    single = plain("/")[Wire.JSON].read({}, b'{"y": %s}' % str(wanted.tolist()).encode())
    bare = plain("/", key="", rows=True)[Wire.JSON].read({}, str([wanted.tolist()]).encode())
    assert right(single)
    assert right(bare)
    assert not right(np.roll(bare, 1))
    assert not right(bare[:8])


def test_a_request_is_the_same_row_over_every_wire() -> None:
    """The binary forms end with its bytes."""
    exchanges = protocol()
    assert exchanges[Wire.BINARY].body.endswith(row().tobytes())
    assert exchanges[Wire.GRPC].body.endswith(row().tobytes())
    assert exchanges[Wire.JSON].path == "/v2/models/mlp/infer"


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_everybody_can_be_asked_as_it_is_measured(peer: object) -> None:
    """Each wire of a load has a request."""
    found = next(one for one in PEERS if one is peer)
    assert set(found.closed) <= set(found.exchanges)
    assert Wire.JSON in found.exchanges
