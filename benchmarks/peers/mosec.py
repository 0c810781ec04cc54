"""mosec: a Rust front with Python workers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.peer import Environment, Peer, Place, Wire
from benchmarks.peers.request import plain

_PROGRAM = Path(__file__).with_name("servers") / "mosec_mlp.py"


def _command(place: Place) -> list[str]:
    address = ("--address", "127.0.0.1", "--port", str(place.http))
    return [str(place.programs / "python"), str(_PROGRAM), *address]


PEER = Peer(
    name="mosec",
    title="mosec",
    configured="`append_worker(num=1, max_batch_size=64, max_wait_time=1)`; two workers were tried "
    "and slower on two cores, waiting 5 ms made no difference",
    environment=Environment("mosec", ("mosec==0.9.8", "onnxruntime==1.31.1", "numpy==2.4.6")),
    command=_command,
    variables=lambda place: {"MLP_MODEL": str(place.model)},
    ready="/",
    exchanges=plain("/inference"),
    closed={Wire.JSON: (64,)},
    offered=(100, 1000, 4000),
    group="fast",
)
