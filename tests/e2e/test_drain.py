"""How a gateway ends: signals to a real one, with callers at work."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import tritonclient.grpc

from benchmarks.harness.gateway import ROOT, Running, free_port, gateway

_CONFIG = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
"""
_ENDED_SECONDS = 30.0


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the gateway keeps what is temporary."""
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One model, `m`, that gives back what it gets."""
    folder = tmp_path / "repository"
    (folder / "m" / "1").mkdir(parents=True)
    (folder / "m" / "config.pbtxt").write_text(_CONFIG)
    return folder


@pytest.fixture
def start(scratch: Path, repository: Path) -> Callable[..., Any]:
    """Starts a gateway of two workers on the echo engine, with settings by their variables."""

    @contextmanager
    def started(**variables: object) -> Iterator[Running]:
        environment = {f"LUPINE_{name}": str(value) for name, value in variables.items()}
        environment |= {"TMPDIR": str(scratch)}
        flags = ("--engine", "echo", "--workers", "2", "--repository", str(repository))
        with gateway(*flags, environment=environment) as running:
            yield running

    return started


def infer(running: Running, latency: float = 0.0, timeout: float = 30.0) -> httpx.Response:
    """One request, on a connection of its own, whose answer takes so many seconds."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [7]}
    body = {"inputs": [tensor], "parameters": {"echo.latency_ms": latency * 1000}}
    return httpx.post(f"{running.url}/v2/models/m/infer", json=body, timeout=timeout)


class Caller(threading.Thread):
    """Something that is called while the gateway ends, and what came of it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        """Call, and keep what was raised too."""
        try:
            self.outcome = self._call()
        except Exception as error:  # noqa: BLE001 - told to the test that waits
            self.outcome = error

    def result(self) -> Any:
        """What came of it."""
        self.join()
        return self.outcome


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fails when it does not come."""
    deadline = time.monotonic() + _ENDED_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def drained(running: Running) -> list[str]:
    """The lines that workers say at their end."""
    return [line for line in running.log.read_text().splitlines() if "drained in" in line]


def in_flight(running: Running) -> int:
    """Inferences that are being answered, in all workers."""
    lines = httpx.get(f"{running.url}/metrics").text.splitlines()
    name = "lupine_inflight_requests "
    return sum(int(float(line.split()[1])) for line in lines if line.startswith(name))


def test_requests_in_flight_are_answered_and_nothing_is_left(
    start: Callable[..., Any], scratch: Path
) -> None:
    """On both wires, after SIGTERM; new ones too, for a while, and each is told to go elsewhere."""

    def over_grpc() -> Any:
        tensor = tritonclient.grpc.InferInput("x", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
        with tritonclient.grpc.InferenceServerClient(running.grpc_url) as client:
            slow = {"echo.latency_ms": 3000}
            return client.infer("m", [tensor], parameters=slow).as_numpy("y").tolist()

    with (
        start(SERVER__LAME_DUCK_SECONDS=2) as running,
        httpx.Client(base_url=running.url) as client,
        httpx.Client(base_url=running.url) as old,
    ):
        family = running.family()
        slow = [Caller(lambda: infer(running, latency=3)) for _ in range(4)]
        call = Caller(over_grpc)
        until(lambda: in_flight(running) == 5)
        assert "connection" not in old.get("/v2/health/ready").headers
        running.process.terminate()
        until(lambda: all(drains(client) for _ in range(12)))  # the workers, one by one
        kept = old.get("/v2/models/m")  # on the connection from before
        assert kept.status_code == 200
        assert kept.headers["connection"] == "close"
        statuses = {path: client.get(path).status_code for path in ("/livez", "/readyz")}
        assert statuses == {"/livez": 200, "/readyz": 503}
        assert client.get("/v2/health/live").status_code == 200
        assert infer(running).status_code == 200
        assert [caller.result().status_code for caller in slow] == [200] * 4
        assert call.result() == [[1.0]]
        assert running.process.wait(_ENDED_SECONDS) == 0
        assert psutil.wait_procs(family, timeout=_ENDED_SECONDS)[1] == []
        lines = drained(running)
        assert len(lines) == 2
        assert all(line.endswith("requests finished, 0 cut") for line in lines)
        assert sum(int(line.split()[-5]) for line in lines) == 6
        assert list(scratch.iterdir()) == []


def drains(client: httpx.Client) -> bool:
    """Whether readiness is gone."""
    return client.get("/v2/health/ready").status_code == 503


def test_no_connection_is_lost(start: Callable[..., Any]) -> None:
    """Callers that come all the time are answered until they are refused, and never reset."""

    def call(seen: Counter[Any], *, kept: bool) -> None:
        with httpx.Client(timeout=20, headers={} if kept else {"connection": "close"}) as client:
            while "refused" not in seen:
                try:
                    seen[client.get(f"{running.url}/v2/models/m").status_code] += 1
                except httpx.ConnectError as error:
                    seen["refused" if "refused" in str(error) else repr(error)] += 1

    with start(SERVER__LAME_DUCK_SECONDS=0.3) as running:
        outcomes: list[Counter[Any]] = [Counter() for _ in range(6)]
        callers = [
            Caller(functools.partial(call, seen, kept=index % 2 == 0))
            for index, seen in enumerate(outcomes)
        ]
        until(lambda: all(outcomes))
        running.process.terminate()
        assert [caller.result() for caller in callers] == [None] * 6
        assert [set(seen) for seen in outcomes] == [{200, "refused"}] * 6
        assert running.process.wait(_ENDED_SECONDS) == 0


def test_a_second_signal_waits_for_nothing(start: Callable[..., Any], scratch: Path) -> None:
    """Ctrl-C reaches everybody at once and is one signal; pressed again, the requests are cut."""
    with start(SERVER__LAME_DUCK_SECONDS=60, SERVER__GRACE_SECONDS=60) as running:
        slow = Caller(lambda: infer(running, latency=50))
        until(lambda: in_flight(running) == 1)
        os.killpg(running.process.pid, signal.SIGINT)
        time.sleep(1.2)
        assert infer(running).status_code == 200  # the first one began the lame duck
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.process.wait(_ENDED_SECONDS) == 0
        answer = slow.result()
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "shutting down" in answer.json()["error"]
        cut = [line.split()[-2] for line in drained(running)]
        assert sorted(cut) == ["0", "1"]
        assert "Traceback" not in running.log.read_text()
        assert list(scratch.iterdir()) == []


def test_one_worker_may_end_alone(start: Callable[..., Any], scratch: Path) -> None:
    """The others have the port still; and when the supervisor is killed, they clean up."""
    with start(SERVER__LAME_DUCK_SECONDS=0.1) as running:
        one, other = running.workers()
        one.terminate()
        until(lambda: len(drained(running)) == 1)
        assert {infer(running).status_code for _ in range(20)} == {200}
        assert "Traceback" not in running.log.read_text()
        running.process.kill()
        running.process.wait()
        assert psutil.wait_procs([other], timeout=_ENDED_SECONDS)[1] == []
        assert list(scratch.glob("lupine-*")) == []


def test_what_takes_too_long_is_cut(start: Callable[..., Any]) -> None:
    """After the grace time, from the signal on; on both wires, and counted."""
    with start(SERVER__LAME_DUCK_SECONDS=0, SERVER__GRACE_SECONDS=1) as running:
        slow = Caller(lambda: infer(running, latency=20))
        with socket.create_connection(("127.0.0.1", running.port)) as halfway:
            halfway.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n")
            until(lambda: in_flight(running) == 1)
            running.process.terminate()
            assert running.process.wait(_ENDED_SECONDS) == 0
            assert halfway.recv(65536).startswith(b"HTTP/1.1 503 ")
        assert slow.result().status_code == 503
        assert sum(int(line.split()[-2]) for line in drained(running)) == 2


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEPORT,)], ids=["taken", "shared"])
def test_workers_that_cannot_start_end_the_gateway(
    repository: Path, scratch: Path, options: tuple[int, ...]
) -> None:
    """Here the gRPC port of one address is a stranger's, and `bentoml serve` wants all of them."""
    port = free_port()
    with socket.socket() as stranger:
        for option in options:
            stranger.setsockopt(socket.SOL_SOCKET, option, 1)
        stranger.bind(("127.0.0.2", port))
        stranger.listen()
        done = bentoml_serve(
            *("--host", "0.0.0.0"),  # noqa: S104 - that is the case
            LUPINE_SERVER__GRPC_PORT=str(port),
            LUPINE_SERVER__WORKERS="2",
            LUPINE_REPOSITORY__PATH=str(repository),
            TMPDIR=str(scratch),
        )
        said, _ = done.communicate(timeout=60)
    assert done.returncode == 1
    (reason,) = [line for line in said.splitlines() if "cannot start" in line]
    assert str(port) in reason
    assert "Traceback" not in said
    assert "ready at" not in said
    assert list(scratch.glob("lupine-*")) == []


def test_bentoml_serve_ends_as_well(repository: Path, scratch: Path) -> None:
    """Started without our command: the same drain, within our own grace time."""
    process = bentoml_serve(
        LUPINE_SERVER__GRPC_PORT=str(free_port()),
        LUPINE_SERVER__LAME_DUCK_SECONDS="0.1",
        LUPINE_SERVER__WORKERS="1",
        BENTOML_CONFIG_OVERRIDES='{"services": {"Gateway": {"workers": 2}}}',
        LUPINE_REPOSITORY__PATH=str(repository),
        TMPDIR=str(scratch),
    )
    assert process.stdout is not None
    (ready,) = itertools.islice((line for line in process.stdout if "lupine: ready" in line), 1)
    assert "2 workers" in ready  # BentoML's configuration wins, and everybody knows
    process.terminate()
    said, _ = process.communicate(timeout=_ENDED_SECONDS)
    assert process.returncode == 0
    assert said.count("drained in") == 2
    assert list(scratch.glob("lupine-*")) == []


def bentoml_serve(*flags: str, **environment: str) -> subprocess.Popen[str]:
    """The command of BentoML's users, on a free port; all that it says is in its output."""
    words = ("serve", "service.bento:Gateway", "--port", str(free_port()), *flags)
    return subprocess.Popen(
        [sys.executable, "-m", "bentoml", *words],
        cwd=ROOT,
        env=os.environ | {"LUPINE_ENGINE__KIND": "echo"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
