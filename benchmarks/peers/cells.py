"""What is measured, and in which order: sessions of peers side by side, and the cells in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from benchmarks.peers.peer import Peer, Wire

_T = TypeVar("_T")


class Kind(StrEnum):
    """How load is made."""

    CLOSED = "closed"
    """A closed loop: wrk over HTTP, h2load over gRPC."""
    K6 = "k6"
    """An open loop by k6, at a constant rate."""
    OWN = "own"
    """An open loop by our own generator, Poisson arrivals."""


OWN_LIMIT = 1000
"""Requests a second that one process of our own generator is asked for at most here."""


@dataclass(frozen=True, slots=True, order=True)
class Load:
    """One way of asking.

    Args:
        kind: of the loop.
        wire: that it goes over.
        size: connections (over gRPC: in flight) of a closed loop, requests a second of an open one.
    """

    kind: Kind
    wire: Wire
    size: int


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One measurement: a peer under a load, in a round."""

    round: int
    peer: str
    load: Load


@dataclass(frozen=True, slots=True)
class Session:
    """Peers that run side by side, and what is measured while they do, in this order."""

    peers: tuple[Peer, ...]
    cells: tuple[Cell, ...]


def plan(peers: Sequence[Peer], rounds: int, *, k6: bool = True) -> list[Session]:
    """All sessions of a run.

    In each round another group begins, and within a group another peer: a machine that grows
    slower, or is disturbed, favours none.

    Args:
        peers: that take part.
        rounds: how often each cell is measured.
        k6: whether k6 is there.
    """
    groups: dict[str, list[Peer]] = {}
    for peer in peers:
        groups.setdefault(peer.group, []).append(peer)
    found = []
    for number in range(1, rounds + 1):
        for group in _rotated(list(groups.values()), number - 1):
            turn = _rotated(group, number - 1)
            loads = {
                peer.name: [one for one in _loads(peer) if k6 or one.kind is not Kind.K6]
                for peer in turn
            }
            every = sorted({one for some in loads.values() for one in some})
            cells = tuple(
                Cell(number, peer.name, load)
                for load in every
                for peer in turn
                if load in loads[peer.name]
            )
            found.append(Session(tuple(turn), cells))
    return found


def left(sessions: Sequence[Session], done: Mapping[Cell, object]) -> list[Session]:
    """What is still to be measured; a session's peers are those that still have a cell."""
    found = []
    for session in sessions:
        cells = tuple(cell for cell in session.cells if cell not in done)
        names = {cell.peer for cell in cells}
        if cells:
            found.append(Session(tuple(p for p in session.peers if p.name in names), cells))
    return found


def without(sessions: Sequence[Session], gone: Callable[[str], bool]) -> list[Session]:
    """The sessions without the peers that are gone."""
    kept = [
        Session(
            tuple(peer for peer in session.peers if not gone(peer.name)),
            tuple(cell for cell in session.cells if not gone(cell.peer)),
        )
        for session in sessions
    ]
    return [session for session in kept if session.cells]


def _loads(peer: Peer) -> list[Load]:
    closed = [Load(Kind.CLOSED, wire, n) for wire, sizes in peer.closed.items() for n in sizes]
    k6 = [Load(Kind.K6, Wire.JSON, rate) for rate in peer.offered]
    own = [Load(Kind.OWN, Wire.JSON, r) for r in peer.offered if peer.oip and r <= OWN_LIMIT]
    return closed + k6 + own


def _rotated(items: list[_T], by: int) -> list[_T]:
    cut = by % len(items)
    return items[cut:] + items[:cut]
