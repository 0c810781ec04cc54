"""A peer as it runs: started on free ports of loopback, held to its answer, watched, ended."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import numpy as np
import psutil

from benchmarks.harness.gateway import free_port
from benchmarks.peers.environment import programs
from benchmarks.peers.peer import Array, Exchange, Peer, Place, Wire
from benchmarks.peers.request import TOLERANCE, answer

_START_SECONDS = 90.0
_KILL_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_MIB = 1 << 20


class PeerError(Exception):
    """A peer does not start, or does not answer: which one, and what it said."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a peer and everything below it.

    Args:
        cpu: seconds that its processes have used so far.
        rss: MiB resident, added up: pages that two of its processes share count twice.
    """

    cpu: float
    rss: float


@dataclass(frozen=True, slots=True)
class Served:
    """A peer that is ready."""

    peer: Peer
    place: Place
    process: psutil.Process

    @property
    def url(self) -> str:
        """The base URL of its HTTP."""
        return f"http://127.0.0.1:{self.place.http}"

    @property
    def grpc_url(self) -> str:
        """Where its gRPC listens."""
        return f"127.0.0.1:{self.place.grpc}"

    def usage(self) -> Usage:
        """What it holds and has used."""
        cpu = rss = 0.0
        for process in _family(self.process):
            try:
                times, memory = process.cpu_times(), process.memory_info()
            except psutil.NoSuchProcess:
                continue
            cpu += times.user + times.system
            rss += memory.rss / _MIB
        return Usage(cpu, rss)

    def wrong(self, wire: Wire) -> str:
        """Ask once; what is wrong with the answer, or nothing."""
        found = self.ask(wire)
        return found if isinstance(found, str) else ""

    def size(self, wire: Wire) -> int:
        """How many bytes an answer has.

        Raises:
            PeerError: there is none.
        """
        found = self.ask(wire)
        if isinstance(found, str):
            raise PeerError(f"{self.peer.name}, {wire}: {found}")
        return len(found)

    def ask(self, wire: Wire) -> bytes | str:
        """Ask once: the right answer's bytes, or what is wrong with it."""
        exchange = self.peer.exchanges[wire]
        try:
            headers, body = (
                _ask_grpc(self.grpc_url, exchange)
                if wire is Wire.GRPC
                else _ask_http(self.url, exchange)
            )
            found = exchange.read(headers, body)
        except (httpx.HTTPError, grpc.RpcError) as error:
            return f"no answer: {error}"
        except (ValueError, KeyError, TypeError, IndexError) as error:
            return f"it cannot be read: {type(error).__name__}: {error}"
        return body if right(found) else f"wrong answer: {found[:4]}…"


def right(found: Array) -> bool:
    """Whether a row of 16 is what the model makes of the one that was sent."""
    wanted = answer()[0]
    return found.shape == wanted.shape and bool(np.allclose(found, wanted, atol=TOLERANCE))


@contextmanager
def serving(peer: Peer, model: Path) -> Iterator[Served]:
    """Run a peer until the block ends.

    Args:
        peer: to run.
        model: the ONNX file.

    Raises:
        PeerError: it ended, was not ready in time, or answers wrong.
    """
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
        place = Place(
            http=free_port(),
            grpc=free_port(),
            metrics=free_port(),
            programs=programs(peer.environment)
            if peer.environment
            else Path(sys.executable).parent,
            model=model,
            scratch=Path(scratch),
        )
        peer.prepare(place)
        log = place.scratch / "log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                list(peer.command(place)),
                cwd=peer.folder or place.scratch,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=_variables(peer, place),
                start_new_session=True,
            )
        served = Served(peer, place, psutil.Process(process.pid))
        try:
            _await_ready(served, process, log)
            yield served
        finally:
            _stop(served, process)


def _variables(peer: Peer, place: Place) -> dict[str, str]:
    found = os.environ | dict(peer.variables(place))
    if peer.environment:
        # What it would write into its user's home belongs to this run alone.
        found |= {"HOME": str(place.scratch), "PATH": f"{place.programs}:{os.environ['PATH']}"}
    return found


def _await_ready(served: Served, process: subprocess.Popen[bytes], log: Path) -> None:
    begun = time.monotonic()
    while process.poll() is None and time.monotonic() - begun < _START_SECONDS:
        told = served.peer.word.encode() in log.read_bytes()
        if told and _ready(served.url + served.peer.ready) and not _all_wrong(served):
            return
        time.sleep(0.1)
    tail = log.read_text(errors="replace")[-2000:]
    trouble = _all_wrong(served) if process.poll() is None else f"exit {process.returncode}"
    raise PeerError(f"{served.peer.name} did not get ready ({trouble}):\n{tail}")


def _all_wrong(served: Served) -> str:
    return next((what for wire in served.peer.exchanges if (what := served.wrong(wire))), "")


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _ask_http(url: str, exchange: Exchange) -> tuple[Mapping[str, str], bytes]:
    reply = httpx.post(
        url + exchange.path,
        content=exchange.body,
        headers=dict(exchange.headers),
        timeout=_ANSWER_SECONDS,
        trust_env=False,
    )
    reply.raise_for_status()
    return {name.lower(): value for name, value in reply.headers.items()}, reply.content


def _ask_grpc(address: str, exchange: Exchange) -> tuple[Mapping[str, str], bytes]:
    with grpc.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),)) as channel:
        call = channel.unary_unary(exchange.path)  # bytes both ways
        return {}, bytes(call(exchange.body, timeout=_ANSWER_SECONDS, wait_for_ready=True))


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _stop(served: Served, process: subprocess.Popen[bytes]) -> None:
    family = _family(served.process)
    process.terminate()
    _, left = psutil.wait_procs(family, timeout=served.peer.patience)
    # psutil knows a process by its start as well: a pid that is another's by now is left alone.
    for one in left:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(left, timeout=_KILL_SECONDS)
    process.wait()
