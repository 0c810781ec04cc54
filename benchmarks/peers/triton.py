"""Triton called directly, batching by itself."""

from __future__ import annotations

from benchmarks.harness import mlp
from benchmarks.harness.gateway import LUPINE, ROOT
from benchmarks.peers.peer import Peer, Place, Wire
from benchmarks.peers.request import MODEL, protocol

CLOSED = {Wire.JSON: (64,), Wire.BINARY: (16, 64, 256, 2000), Wire.GRPC: (128,)}
OFFERED = (100, 1000, 4000)


def _command(place: Place) -> list[str]:
    flags = (
        ("--http-port", place.http),
        ("--grpc-port", place.grpc),
        ("--metrics-port", place.metrics),
    )
    named = [str(part) for flag in flags for part in flag]
    return [LUPINE, "triton", "--repository", str(place.scratch / "models"), *named]


def _prepare(place: Place) -> None:
    mlp.repository(place.scratch / "models", triton_batches=True)


PEER = Peer(
    name="triton",
    title="Triton, direct",
    configured="`dynamic_batching { }`, batches of at most 64, one instance; two instances, and "
    "preferred sizes with a delay, were tried: within a tenth of it, faster here and slower there",
    environment=None,
    command=_command,
    prepare=_prepare,
    ready=f"/v2/models/{MODEL}/ready",
    exchanges=protocol(),
    closed=CLOSED,
    offered=OFFERED,
    group="fast",
    oip=True,
    patience=5.0,  # it waits 30 s for connections that nobody uses
    folder=ROOT,
)
