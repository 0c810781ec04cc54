"""LitServe."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.peer import Environment, Peer, Place, Wire
from benchmarks.peers.request import plain

_PROGRAM = Path(__file__).with_name("servers") / "litserve_mlp.py"


def _command(place: Place) -> list[str]:
    python = str(place.programs / "python")
    return [python, str(_PROGRAM), str(place.model), str(place.http)]


PEER = Peer(
    name="litserve",
    title="LitServe",
    configured="`max_batch_size=64, batch_timeout=0.005, workers_per_device=2, fast_queue=True`; "
    "one worker was tried and slower",
    environment=Environment(
        "litserve", ("litserve==0.2.19", "onnxruntime==1.31.1", "numpy==2.4.6")
    ),
    command=_command,
    ready="/health",
    exchanges=plain("/predict"),
    closed={Wire.JSON: (64,)},
    offered=(100, 1000),
    group="litserve",
    patience=3.0,  # its workers outlive it, and wait for nothing
)
