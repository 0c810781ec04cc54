"""What is claimed of Lupine beside its peers, and what the measured cells say to it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.peers.cells import Cell, Kind, Load
from benchmarks.peers.peer import Wire
from benchmarks.peers.state import Found

_JSON = Load(Kind.CLOSED, Wire.JSON, 64)
_GRPC = Load(Kind.CLOSED, Wire.GRPC, 128)
_BENTOML = ("bentoml-batched", "bentoml")


class Quantity(StrEnum):
    """What of a cell is compared."""

    RATE = "requests/s"
    P99 = "p99"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One figure divided by another of the same round.

    Args:
        name: in the table.
        peer: whose figure is above the line.
        against: below it; of several, whoever has the best median.
        load: of both.
        quantity: that is compared.
        target: at least so much of a rate, at most so much of a time; None where none is set.
    """

    name: str
    peer: str
    against: tuple[str, ...]
    load: Load
    quantity: Quantity = Quantity.RATE
    target: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """What the cells say to a claim.

    Args:
        claim: the claim.
        against: whom it was compared with.
        ratios: of each round that has both, in the order of rounds; never empty.
    """

    claim: Claim
    against: str
    ratios: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.ratios)

    @property
    def holds(self) -> bool | None:
        """Whether the target is met by the median; None where there is none."""
        if self.claim.target is None:
            return None
        if self.claim.quantity is Quantity.RATE:
            return self.median >= self.claim.target
        return self.median <= self.claim.target


def _json(against: tuple[str, ...], title: str, target: float) -> Claim:
    return Claim(
        name=f"JSON, 64 connections: ÷ {title}",
        peer="lupine-triton",
        against=against,
        load=_JSON,
        target=target,
    )


def _direct(
    load: Load, name: str, *, rate: float | None, p99: float | None, peer: str = "lupine-triton"
) -> tuple[Claim, Claim]:
    both = [
        Claim(
            name=f"{name}: {quantity} ÷ direct Triton",
            peer=peer,
            against=("triton",),
            load=load,
            quantity=quantity,
            target=target,
        )
        for quantity, target in ((Quantity.RATE, rate), (Quantity.P99, p99))
    ]
    return both[0], both[1]


def _binary(connections: int, target: float) -> tuple[Claim, Claim]:
    load = Load(Kind.CLOSED, Wire.BINARY, connections)
    return _direct(load, f"HTTP binary, {connections} connections", rate=target, p99=None)


_ONNX = Load(Kind.CLOSED, Wire.BINARY, 256)
CLAIMS: tuple[Claim, ...] = (
    _json(("mosec",), "mosec", 0.9),
    _json(("mlserver",), "MLServer", 5.0),
    _json(("litserve",), "LitServe", 10.0),
    _json(_BENTOML, "BentoML typed", 15.0),
    _json(("ray",), "Ray Serve", 30.0),
    *_direct(_JSON, "JSON, 64 connections", rate=None, p99=None),
    *_binary(16, 0.65),
    *_binary(64, 0.75),
    *_binary(256, 0.9),
    *_binary(2000, 1.0),
    *_direct(_GRPC, "gRPC, 128 in flight over 8 channels", rate=0.4, p99=2.0),
    *_direct(
        _ONNX,
        "`--engine onnx`, HTTP binary, 256 connections",
        rate=1.0,
        p99=None,
        peer="lupine-onnx",
    ),
    *_direct(
        _GRPC, "`--engine onnx`, gRPC, 128 in flight", rate=None, p99=None, peer="lupine-onnx"
    ),
)


def compare(claim: Claim, done: Mapping[Cell, Found]) -> Ratio | None:
    """What the cells say to a claim; None where no round has both."""
    against = _best(claim, done)
    if against is None:
        return None
    mine, theirs = (values(done, p, claim.load, claim.quantity) for p in (claim.peer, against))
    ratios = tuple(mine[r] / theirs[r] for r in sorted(mine.keys() & theirs.keys()) if theirs[r])
    return Ratio(claim=claim, against=against, ratios=ratios) if ratios else None


def values(
    done: Mapping[Cell, Found], peer: str, load: Load, quantity: Quantity
) -> dict[int, float]:
    """A peer's figure under a load, by round; rounds without it are missing."""
    found = {}
    for cell, what in done.items():
        if (cell.peer, cell.load) == (peer, load):
            value = what.rate if quantity is Quantity.RATE else what.p99_ms
            if value is not None:
                found[cell.round] = value
    return found


def _best(claim: Claim, done: Mapping[Cell, Found]) -> str | None:
    medians = {
        peer: statistics.median(of.values())
        for peer in claim.against
        if (of := values(done, peer, claim.load, claim.quantity))
    }
    if not medians:
        return None
    best = max if claim.quantity is Quantity.RATE else min
    return best(medians, key=lambda peer: medians[peer])
