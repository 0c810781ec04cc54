"""BentoML by itself, its typed NumPy API: with its adaptive batching and without."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers.peer import Environment, Peer, Place, Wire
from benchmarks.peers.request import plain

_FOLDER = Path(__file__).with_name("servers")
_ENVIRONMENT = Environment("bentoml", ("bentoml==1.4.39", "onnxruntime==1.31.1", "numpy==2.4.6"))


def _peer(name: str, title: str, service: str, configured: str) -> Peer:
    quiet = {"services": {service: {"logging": {"access": {"enabled": False}}}}}

    def command(place: Place) -> list[str]:
        address = ("--host", "127.0.0.1", "--port", str(place.http))
        target = f"bentoml_mlp:{service}"
        return [str(place.programs / "bentoml"), "serve", target, *address]

    def variables(place: Place) -> dict[str, str]:
        return {
            "MLP_MODEL": str(place.model),
            "BENTOML_HOME": str(place.scratch),
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_CONFIG_OVERRIDES": json.dumps(quiet),
        }

    return Peer(
        name=name,
        title=title,
        configured=configured,
        environment=_ENVIRONMENT,
        command=command,
        variables=variables,
        ready="/readyz",
        exchanges=plain("/predict", key="", rows=True),
        closed={Wire.JSON: (64,)},
        offered=(100, 1000),
        group=name,
        folder=_FOLDER,
    )


PEERS = (
    _peer(
        "bentoml-batched",
        "BentoML typed, batched",
        "MlpBatched",
        "`@bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)`, two workers, no "
        "access log; one worker was tried and slower",
    ),
    _peer(
        "bentoml",
        "BentoML typed, not batched",
        "Mlp",
        "`@bentoml.api`, two workers, no access log",
    ),
)
