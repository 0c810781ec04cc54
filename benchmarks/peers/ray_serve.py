"""Ray Serve on a Ray of its own."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.peer import Environment, Peer, Place, Wire
from benchmarks.peers.request import plain

_PROGRAM = Path(__file__).with_name("servers") / "ray_mlp.py"
_VARIABLES = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # it would write a token; nobody but us is on loopback
}


def _command(place: Place) -> list[str]:
    arguments = (place.model, place.http, place.scratch)
    return [str(place.programs / "python"), str(_PROGRAM), *map(str, arguments)]


PEER = Peer(
    name="ray",
    title="Ray Serve",
    configured="`@serve.batch(max_batch_size=64, batch_wait_timeout_s=0.005)`, one replica, "
    "`RAY_SERVE_THROUGHPUT_OPTIMIZED=1`; without it, it was tried and slower",
    environment=Environment("ray", ("ray[serve]==2.60.0", "onnxruntime==1.31.1", "numpy==2.4.6")),
    command=_command,
    variables=lambda _: _VARIABLES,
    word="ready",
    ready="/-/healthz",
    exchanges=plain("/"),
    closed={Wire.JSON: (64,)},
    offered=(100, 1000),
    group="ray",
)
