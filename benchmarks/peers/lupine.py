"""Lupine as `lupine serve` starts it, with each engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.harness import mlp
from benchmarks.harness.gateway import LUPINE, ROOT
from benchmarks.peers.peer import Peer, Place, Wire
from benchmarks.peers.request import MODEL, protocol
from benchmarks.peers.triton import CLOSED, OFFERED

_ONNX_CLOSED = {Wire.JSON: (64,), Wire.BINARY: (64, 256), Wire.GRPC: (128,)}


def _command(engine: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        ports = ("--port", str(place.http), "--grpc-port", str(place.grpc))
        repository = ("--repository", str(place.scratch / "models"))
        return [LUPINE, "serve", *ports, *repository, "--engine", engine]

    return command


def _prepare(place: Place) -> None:
    mlp.repository(place.scratch / "models", triton_batches=False)


def _peer(engine: str, title: str, configured: str, closed: Mapping[Wire, tuple[int, ...]]) -> Peer:
    return Peer(
        name=f"lupine-{engine}",
        title=title,
        configured=configured,
        environment=None,
        command=_command(engine),
        prepare=_prepare,
        word="lupine: ready",
        ready=f"/v2/models/{MODEL}/ready",
        exchanges=protocol(),
        closed=closed,
        offered=OFFERED,
        group="fast",
        oip=True,
        folder=ROOT,
    )


PEERS = (
    _peer(
        "triton",
        "Lupine, Triton behind it",
        "`lupine serve` without flags: a worker a core, batching in the gateway",
        CLOSED,
    ),
    _peer(
        "onnx",
        "Lupine, ONNX Runtime in process",
        "`lupine serve --engine onnx`: one worker, batching in the gateway",
        _ONNX_CLOSED,
    ),
)
