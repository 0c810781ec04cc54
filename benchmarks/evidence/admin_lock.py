"""Every verb that changes anything, asked by everybody from everywhere: who is answered, and what.

The verbs are held against the protocol's descriptor, the server's reflection and its OpenAPI
document: one that nobody has classified is a fault. The repository index is read after each
request.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from rich.progress import track
from tritonclient.grpc import service_pb2

from benchmarks.harness.gateway import Running, gateway
from benchmarks.harness.record import Evidence
from benchmarks.lock import kinds
from benchmarks.lock.callers import KEY
from benchmarks.lock.peers import ALL, ALL_FOUR, FOUR, SIX, Peer, peers
from benchmarks.lock.trial import Door, Trial, by_caller, by_verb, repository, wakeable
from benchmarks.lock.verbs import LOADS

_DOORS = (
    Door(FOUR, key=False),
    Door(ALL_FOUR, key=False),
    Door(ALL_FOUR, key=True),
    Door(ALL, key=False),
    Door(ALL, key=True),
)
_QUICK = {"LUPINE_SERVER__LAME_DUCK_SECONDS": "0"}


def main() -> int:
    """Try each door, print and record."""
    evidence = Evidence("admin-lock", "echo; one worker")
    for door in _DOORS:
        if ":" in door.host and not Peer("", SIX, SIX).reaches():
            evidence.add(f"{door}", "not tried: this machine has no IPv6")
            continue
        with tempfile.TemporaryDirectory(prefix="lupine-lock-") as scratch:
            models = repository(Path(scratch))
            flags = ("--repository", str(models), "--host", door.host, "--engine", "echo")
            key = {"LUPINE_ADMIN_KEY": KEY if door.key else ""}
            with gateway(*flags, "--workers", "1", environment=_QUICK | key) as running:
                wakeable(models)
                if door is _DOORS[0]:
                    _classify(evidence, running)
                _try(evidence, door, running)
                _listeners(evidence, door, running)
    return evidence.finish()


def _try(evidence: Evidence, door: Door, running: Running) -> None:
    trial = Trial(door, (running.port, running.grpc_port))
    whole, short = [*by_caller(), *by_verb(behind=True)], list(by_caller())
    there = list(peers(door.host))
    reached = [peer for peer in there if peer.reaches()]
    fired = 0
    for peer in reached:
        cases = whole if peer in (reached[0], reached[-1]) else short
        fired += len(cases)
        for caller, verb in track(cases, f"{door}: {peer.name}", transient=True):
            trial.fire(peer, caller, verb)
    trial.close()
    for fault in trial.faults:
        evidence.fault(fault)
    for name, by_peer in _rows(trial).items():
        right = not any(told["WRONG"] for told in by_peer.values())
        evidence.add(f"{door}; {name}", _text(by_peer), "the rule", holds=right)
    if missing := [peer.name for peer in there if peer not in reached]:
        evidence.add(f"{door}; peers that this machine lacks", ", ".join(missing))
    evidence.raw[str(door)] = {
        "requests": fired,
        "peers": [peer.name for peer in reached],
        "answers": {" | ".join(row): dict(told) for row, told in trial.tallies.items()},
    }


def _rows(trial: Trial) -> dict[str, dict[str, Counter[str]]]:
    """By peer: load and unload for each caller, all else for each group; both wires together."""
    found: dict[str, dict[str, Counter[str]]] = {}
    for row, told in trial.tallies.items():
        name = f"{row.verbs}: {row.callers}" if row.verbs == LOADS else row.verbs
        by_peer = found.setdefault(name, {})
        by_peer[row.peer] = by_peer.get(row.peer, Counter()) + told
    return found


def _text(by_peer: dict[str, Counter[str]]) -> str:
    """What every peer was told, or each, where they differ."""
    texts = {
        peer: ", ".join(f"{fate} {count}" for fate, count in sorted(told.items()))
        for peer, told in by_peer.items()
    }
    if len(set(texts.values())) == 1:
        return f"{next(iter(texts.values()))}, from each of {len(texts)}"
    return "; ".join(f"{peer}: {text}" for peer, text in texts.items())


def _classify(evidence: Evidence, running: Running) -> None:
    """Hold the tables of kinds against what there is."""
    protocol = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    there = {*kinds.rpcs([protocol]), *_reflected(running)}
    paths = set(kinds.paths(httpx.get(f"{running.url}/openapi.json").json()))
    for what, found, classified in (
        ("RPCs", there, set(kinds.RPCS)),
        ("documented paths", paths, set(kinds.PATHS)),
    ):
        for name in sorted(found - classified):
            evidence.fault(f"{name} is not classified as reading or changing")
        for name in sorted(classified - found):
            evidence.fault(f"{name} is classified, and is not there")
        every = found == classified
        count = f"{len(found & classified)} of {len(found)}"
        evidence.add(f"{what} classified as reading or changing", count, "all", holds=every)


def _reflected(running: Running) -> Iterator[str]:
    """Every RPC that the server itself tells of."""
    with grpc.insecure_channel(running.grpc_url) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        services = [pool.FindServiceByName(name) for name in database.get_services()]
        yield from kinds.rpcs(services)


def _listeners(evidence: Evidence, door: Door, running: Running) -> None:
    """Nothing listens beyond loopback but the two wires."""
    found = {
        (connection.laddr.ip, connection.laddr.port)
        for process in running.family()
        for connection in process.net_connections("tcp")
        if connection.status == "LISTEN" and not connection.laddr.ip.startswith("127.")
    }
    others = sorted(f"{ip} {port}" for ip, port in found if port not in _wires(running))
    for other in others:
        evidence.fault(f"{door}: a third listener beyond loopback: {other}")
    name = f"{door}; listeners beyond loopback but the two wires"
    evidence.add(name, len(others), "0", holds=not others)


def _wires(running: Running) -> tuple[int, int]:
    return running.port, running.grpc_port
