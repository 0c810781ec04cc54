"""One cell: the load by its generator, and what the peer used meanwhile."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.harness import wrk
from benchmarks.load.wire import WRONG
from benchmarks.peers import h2load, k6, open_loop
from benchmarks.peers.cells import Cell, Kind, Load
from benchmarks.peers.peer import Exchange, Wire
from benchmarks.peers.server import PeerError, Served
from benchmarks.peers.state import Found

_SETTLE_SECONDS = 10.0
_PROMPT_SECONDS = 0.5


class WrongAnswerError(Exception):
    """A peer's answer is not what the model makes of the request."""


def measure(served: Served, cell: Cell, beside: Sequence[Served], seconds: float) -> Found:
    """Put a peer under a load.

    Args:
        served: the peer.
        cell: says which load.
        beside: peers that idle meanwhile.
        seconds: of load.

    Raises:
        WrongAnswerError: before the load, under it or behind it, an answer was wrong.
        PeerError: no answer came any more.
    """
    _settle(served, cell.load.wire)
    before, idle = served.usage(), sum(other.usage().cpu for other in beside)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="peers-load-") as scratch:
        found = _load(served, cell, seconds, Path(scratch))
    took, after = time.monotonic() - begun, served.usage()
    idle = sum(other.usage().cpu for other in beside) - idle
    _settle(served, cell.load.wire)
    answered = found.asked - found.failed
    return msgspec.structs.replace(
        found,
        # Our generator warms up first, by requests that it does not tell of.
        cpu_us=(after.cpu - before.cpu) / answered * 1e6
        if answered and cell.load.kind is not Kind.OWN
        else None,
        rss_mib=after.rss,
        idle_cpu=idle / took,
    )


def warm(served: Served, wire: Wire, connections: int) -> None:
    """A second of load that nobody counts."""
    with tempfile.TemporaryDirectory(prefix="peers-load-") as scratch:
        _closed(served, Load(Kind.CLOSED, wire, connections), 1.0, Path(scratch))


def lua(exchange: Exchange, folder: Path) -> Path:
    """Write wrk's script for a request."""
    (folder / "body").write_bytes(exchange.body)
    headers = "".join(
        f"wrk.headers[{msgspec.json.encode(name).decode()}] = "
        f"{msgspec.json.encode(value).decode()}\n"
        for name, value in exchange.headers.items()
    )
    path = folder / "request.lua"
    path.write_text(
        f'wrk.method = "POST"\nlocal file = io.open("{folder}/body", "rb")\n'
        f'wrk.body = file:read("*a")\nfile:close()\n{headers}'
    )
    return path


def _load(served: Served, cell: Cell, seconds: float, folder: Path) -> Found:
    load, exchange = cell.load, served.peer.exchanges[cell.load.wire]
    if load.kind is Kind.CLOSED:
        return _closed(served, load, seconds, folder)
    if load.kind is Kind.K6:
        got = k6.run(served.url, exchange, rate=load.size, seconds=seconds, folder=folder)
        return Found(
            rate=got.rate,
            p50_ms=got.p50,
            p99_ms=got.p99,
            failed=got.failed,
            asked=got.asked,
            prompt_rate=got.prompt_rate,
            unsent=got.unsent,
        )
    seen = open_loop.ask(
        served.url, rate=load.size, seconds=seconds, seed=cell.round, folder=folder
    )
    if seen.failed.get(WRONG):
        raise WrongAnswerError(f"{served.peer.name}: {seen.failed[WRONG]} wrong answers under load")
    return Found(
        rate=seen.achieved_rate,
        p50_ms=seen.latency.p50_ms,
        p99_ms=seen.latency.p99_ms,
        failed=sum(seen.failed.values()),
        asked=seen.asked,
        unsent=seen.unsent,
        late_p99_ms=seen.late_p99_ms,
    )


def _closed(served: Served, load: Load, seconds: float, folder: Path) -> Found:
    exchange = served.peer.exchanges[load.wire]
    if load.wire is Wire.GRPC:
        got = h2load.run(
            served.grpc_url,
            exchange,
            in_flight=load.size,
            seconds=seconds,
            size=served.size(load.wire),
            folder=folder,
        )
        return Found(
            rate=got.rate, p50_ms=got.p50, p99_ms=got.p99, failed=got.failed, asked=got.asked
        )
    seen = wrk.run(
        served.url + exchange.path,
        lua(exchange, folder),
        connections=load.size,
        seconds=math.ceil(seconds),
    )
    lost = seen.failed - seen.refused
    return Found(
        rate=seen.good_rate,
        p50_ms=_finite(seen.p50),
        p99_ms=_finite(seen.p99),
        failed=seen.failed,
        asked=seen.answered + lost,
    )


def _settle(served: Served, wire: Wire) -> None:
    """Wait until the peer answers at once: what the load before left behind is worked off."""
    begun = time.monotonic()
    while True:
        asked = time.monotonic()
        what = served.wrong(wire)
        if what.startswith("wrong"):
            raise WrongAnswerError(f"{served.peer.name}, {wire}: {what}")
        if not what and time.monotonic() - asked < _PROMPT_SECONDS:
            return
        if time.monotonic() - begun > _SETTLE_SECONDS:
            raise PeerError(f"{served.peer.name}, {wire}: {what or 'it answers slowly'}")
        time.sleep(0.1)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
