from __future__ import annotations

from collections import Counter

from benchmarks.peers import cells
from benchmarks.peers.cells import Cell, Kind, Load, Session
from benchmarks.peers.peer import Peer, Wire
from benchmarks.peers.table import PEERS


def named(sessions: list[Session]) -> list[list[str]]:
    """The names of each session's peers."""
    return [[peer.name for peer in session.peers] for session in sessions]


def of(*names: str) -> list[Peer]:
    """Peers by name, in the table's order."""
    return [peer for peer in PEERS if peer.name in names]


def test_every_cell_is_measured_once_a_round() -> None:
    """Whatever the rotation."""
    rounds = cells.plan(PEERS, 5)
    counted = Counter(cell for session in rounds for cell in session.cells)
    assert set(counted.values()) == {1}
    loads = {(cell.peer, cell.load) for cell in counted}
    assert len(counted) == 5 * len(loads)


def test_another_peer_begins_each_round() -> None:
    """Those of one group take turns under each load."""
    first, second = cells.plan(of("triton", "mosec"), 2)
    load = Load(Kind.CLOSED, Wire.JSON, 64)
    assert named([first, second]) == [["triton", "mosec"], ["mosec", "triton"]]
    assert [c.peer for c in second.cells if c.load == load] == ["mosec", "triton"]


def test_another_group_begins_each_round() -> None:
    """Peers of several groups are never up at the same time."""
    sessions = cells.plan(of("litserve", "ray"), 2)
    assert named(sessions) == [["litserve"], ["ray"], ["ray"], ["litserve"]]


def test_the_same_load_comes_to_all_peers_before_the_next() -> None:
    """A ratio is of figures that were measured one after the other."""
    (session,) = cells.plan(of("triton", "lupine-triton"), 1)
    loads = [cell.load for cell in session.cells]
    assert loads == sorted(loads)


def test_without_k6_the_rest_is_measured() -> None:
    """Its loads are missing, no others."""
    (session,) = cells.plan(of("mosec"), 1, k6=False)
    assert [cell.load.kind for cell in session.cells] == [Kind.CLOSED]


def test_our_own_generator_asks_only_those_whom_it_understands() -> None:
    """And no more of them than one process of it can send."""
    own = [
        cell
        for session in cells.plan(PEERS, 1)
        for cell in session.cells
        if cell.load.kind is Kind.OWN
    ]
    assert {cell.peer for cell in own} == {p.name for p in PEERS if p.oip}
    assert max(cell.load.size for cell in own) <= cells.OWN_LIMIT


def test_what_is_left_starts_no_peer_without_a_cell() -> None:
    """A session with all its cells is gone; one of a session's peers may be."""
    sessions = cells.plan(of("triton", "mosec", "ray"), 1)
    done: dict[Cell, None] = {
        cell: None
        for session in sessions
        for cell in session.cells
        if cell.peer in {"mosec", "ray"}
    }
    left = cells.left(sessions, done)
    assert named(left) == [["triton"]]
    assert {cell.peer for cell in left[0].cells} == {"triton"}
    assert cells.left(sessions, dict.fromkeys([c for s in sessions for c in s.cells])) == []


def test_a_peer_that_is_gone_is_asked_no_more() -> None:
    """Its neighbours are."""
    sessions = cells.plan(of("triton", "mosec", "ray"), 1)
    kept = cells.without(sessions, {"mosec", "ray"}.__contains__)
    assert named(kept) == [["triton"]]
