"""MLServer with a custom runtime."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.peers.peer import Environment, Peer, Place, Wire
from benchmarks.peers.request import MODEL, protocol

_RUNTIME = Path(__file__).with_name("servers") / "mlserver_mlp.py"


def _prepare(place: Place) -> None:
    settings = {
        "host": "127.0.0.1",
        "http_port": place.http,
        "grpc_port": place.grpc,
        "metrics_port": place.metrics,
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": MODEL,
        "implementation": f"{_RUNTIME.stem}.Mlp",
        "max_batch_size": 64,
        "max_batch_time": 0.005,
        "parameters": {"uri": str(place.model)},
    }
    (place.scratch / "settings.json").write_text(json.dumps(settings))
    (place.scratch / "model-settings.json").write_text(json.dumps(model))
    shutil.copy(_RUNTIME, place.scratch)


PEER = Peer(
    name="mlserver",
    title="MLServer",
    configured="adaptive batching, `max_batch_size` 64 and `max_batch_time` 5 ms; "
    "`parallel_workers` 0; one and two were tried and slower on two cores",
    environment=Environment(
        "mlserver",
        # It asks uvloop for a loop where later ones make none any more.
        ("mlserver==1.7.1", "uvloop==0.21.0", "onnxruntime==1.31.1", "numpy==2.4.6"),
    ),
    command=lambda place: [str(place.programs / "mlserver"), "start", str(place.scratch)],
    prepare=_prepare,
    ready=f"/v2/models/{MODEL}/ready",
    exchanges={Wire.JSON: protocol()[Wire.JSON]},
    closed={Wire.JSON: (64,)},
    offered=(100, 1000),
    group="mlserver",
    oip=True,
)
