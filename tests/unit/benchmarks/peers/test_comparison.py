from __future__ import annotations

import pytest

from benchmarks.peers.cells import Cell, Kind, Load
from benchmarks.peers.comparison import CLAIMS, Claim, Quantity, compare
from benchmarks.peers.peer import Wire
from benchmarks.peers.state import Found
from benchmarks.peers.table import PEERS

LOAD = Load(Kind.CLOSED, Wire.JSON, 64)


def found(rate: float, p99: float | None = 1.0) -> Found:
    return Found(rate=rate, p50_ms=1.0, p99_ms=p99, failed=0, asked=1)


def claim(*against: str, quantity: Quantity = Quantity.RATE, target: float | None = None) -> Claim:
    return Claim(
        name="it", peer="lupine", against=against, load=LOAD, quantity=quantity, target=target
    )


def measured(**rates: list[float]) -> dict[Cell, Found]:
    """Peers' rates, round by round; a rate of 0 was not measured."""
    return {
        Cell(number, peer, LOAD): found(rate, p99=rate)
        for peer, of in rates.items()
        for number, rate in enumerate(of, 1)
        if rate
    }


def test_figures_of_one_round_are_compared() -> None:
    """A round that lacks one of them is left out."""
    ratio = compare(claim("it"), measured(lupine=[8, 9, 3], it=[4, 0, 1]))
    assert ratio is not None
    assert list(ratio.ratios) == [2, 3]
    assert ratio.median == 2.5


def test_without_a_figure_there_is_no_ratio() -> None:
    """Nor is one made up."""
    assert compare(claim("it"), measured(lupine=[8])) is None
    assert compare(claim("it"), measured(lupine=[8, 0], it=[0, 4])) is None


@pytest.mark.parametrize(
    ("quantity", "target", "holds"),
    [
        (Quantity.RATE, 2.0, True),
        (Quantity.RATE, 2.1, False),
        (Quantity.P99, 2.0, True),
        (Quantity.P99, 1.9, False),
        (Quantity.RATE, None, None),
    ],
)
def test_the_median_decides(quantity: Quantity, target: float | None, holds: bool | None) -> None:  # noqa: FBT001 - a table
    """A rate is to be at least its target, a time at most."""
    ratio = compare(
        claim("it", quantity=quantity, target=target), measured(lupine=[2, 4, 9], it=[2, 2, 2])
    )
    assert ratio is not None
    assert ratio.holds is holds


def test_of_several_the_best_is_taken() -> None:
    """By the median, and it is named; with a time, the shortest."""
    rates = measured(lupine=[8, 8, 8], one=[1, 4, 4], other=[2, 2, 9])
    best = compare(claim("one", "other"), rates)
    assert best is not None
    assert (best.against, best.ratios) == ("one", (8, 2, 2))
    shortest = compare(claim("one", "other", quantity=Quantity.P99), rates)
    assert shortest is not None
    assert shortest.against == "other"


def test_a_time_that_nobody_has_is_not_compared() -> None:
    """A server without an answer has no p99."""
    done = {Cell(1, "lupine", LOAD): found(1.0, p99=None), Cell(1, "it", LOAD): found(1.0)}
    assert compare(claim("it", quantity=Quantity.P99), done) is None


def test_claims_speak_of_what_is_measured() -> None:
    """Every peer that a claim names is there, and is put under its load."""
    loads = {p.name: {(w, n) for w, sizes in p.closed.items() for n in sizes} for p in PEERS}
    for one in CLAIMS:
        for name in (one.peer, *one.against):
            assert (one.load.wire, one.load.size) in loads[name], one.name
