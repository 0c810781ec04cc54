"""Everybody who takes part."""

from __future__ import annotations

from benchmarks.peers import bentoml, litserve, lupine, mlserver, mosec, ray_serve, triton
from benchmarks.peers.peer import Peer

PEERS: tuple[Peer, ...] = (
    triton.PEER,
    *lupine.PEERS,
    mosec.PEER,
    mlserver.PEER,
    litserve.PEER,
    *bentoml.PEERS,
    ray_serve.PEER,
)
