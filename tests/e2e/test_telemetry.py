"""What an operator sees of a gateway whose workers are killed under traffic."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.harness.gateway import Running, gateway
from tests.unit.telemetry.samples import Samples, buckets, read

CONFIG = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }
parameters { key: "lupine.slo_p99_ms" value { string_value: "33.3" } }
"""
REQUEST = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
REQUESTS = "lupine_request_duration_seconds"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one gateway: its repository, its run folder, its access log."""
    return tmp_path_factory.mktemp("telemetry")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    """Two workers that echo the model `m`, with an access log."""
    (folder / "repository" / "m" / "1").mkdir(parents=True)
    (folder / "repository" / "m" / "config.pbtxt").write_text(CONFIG)
    (folder / "run").mkdir(mode=0o700)
    flags = ("--engine", "echo", "--repository", str(folder / "repository"), "--workers", "2")
    environment = {
        "LUPINE_RUN_DIR": str(folder / "run"),
        "LUPINE_TELEMETRY__ACCESS_LOG": str(folder / "access"),
    }
    with gateway(*flags, environment=environment) as started:
        yield started


def lines(folder: Path) -> list[dict[str, Any]]:
    """The access log so far."""
    return [json.loads(line) for line in (folder / "access").read_bytes().splitlines()]


def scrape(running: Running) -> Samples:
    """The metrics as any worker shows them."""
    while True:
        try:
            return read(httpx.get(f"{running.url}/metrics", trust_env=False).text)
        except httpx.TransportError:  # it was the one that is killed
            time.sleep(0.05)


def answered(samples: Samples) -> float:
    """Inferences answered with 200."""
    return sum(
        count
        for (name, labels), count in samples.items()
        if name == f"{REQUESTS}_count" and dict(labels)["code"] == "200"
    )


class Client(threading.Thread):
    """Asks, over connection after connection, until it is told to stop."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.stopping = threading.Event()
        self.answered = 0
        self.unheard = 0  # sent, and the connection lost: nobody knows whether it was counted

    def run(self) -> None:
        """Count what comes back."""
        while not self.stopping.is_set():
            try:
                with httpx.Client(base_url=self._url, trust_env=False, timeout=10) as client:
                    for _ in range(20):
                        answer = client.post("/v2/models/m/infer", json=REQUEST)
                        if answer.status_code == 429:
                            continue  # a busy machine: it would not have been in time
                        assert answer.status_code == 200
                        self.answered += 1
            except httpx.ConnectError:
                time.sleep(0.02)
            except httpx.TransportError:
                self.unheard += 1


def test_no_count_goes_back_or_is_lost_when_workers_are_killed(running: Running) -> None:
    """After any number of deaths the metrics have every answer that a client saw."""
    clients = [Client(running.url) for _ in range(3)]
    for client in clients:
        client.start()
    seen = [0.0]
    for _ in range(2):
        time.sleep(0.5)
        seen.append(answered(scrape(running)))
        worker = running.workers()[0]
        worker.kill()
        seen.append(answered(scrape(running)))
        while worker in running.workers() or len(running.workers()) < 2:
            time.sleep(0.05)
        seen.append(answered(scrape(running)))
    for client in clients:
        client.stopping.set()
    for client in clients:
        client.join()
    idle_by = time.monotonic() + 5
    samples = scrape(running)
    seen.append(answered(samples))
    assert seen == sorted(seen)
    heard = sum(client.answered for client in clients)
    unheard = sum(client.unheard for client in clients)
    # Each death cuts off at most the request of each client: counted, or killed before it was.
    assert heard <= answered(samples) <= heard + unheard
    assert unheard <= 2 * len(clients)
    labels = {"model": "m", "version": "1", "protocol": "http", "code": "200"}
    assert buckets(samples, REQUESTS, **labels)[0.0333] > 0
    # The gauge is told a moment after the last answer (`_TELL_SECONDS`, service/inference.py).
    while scrape(running)["lupine_inflight_requests", ()]:
        assert time.monotonic() < idle_by, "nobody asks, and the gauge is not 0"
        time.sleep(0.02)


def test_what_dead_workers_leave_is_folded(running: Running, folder: Path) -> None:
    """The folder has the files of the living alone."""
    for _ in range(2):
        worker = running.workers()[0]
        worker.kill()
        while worker in running.workers() or len(running.workers()) < 2:
            time.sleep(0.05)
    while True:
        scrape(running)
        alive = {path.stem for path in (folder / "run" / "metrics").glob("*.alive")}
        if len(alive) == 2:  # the new one has begun
            break
    owners = {p.stem.rpartition("_")[2] for p in (folder / "run" / "metrics").glob("*.db")}
    assert owners <= alive


def test_every_path_has_a_request_id_and_a_line(running: Running, folder: Path) -> None:
    """Whoever answers it: the data plane, BentoML or the metrics."""
    asked = [
        ("GET", "/v2/health/ready"),
        ("POST", "/v2/models/nobody/infer"),
        ("GET", "/v2/nothing"),
        ("GET", "/metrics"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/livez"),
        ("POST", "/identify"),
        ("GET", "/nothing"),
    ]
    codes = {}
    for number, (method, path) in enumerate(asked):
        url = running.url + path
        answer = httpx.request(method, url, headers={"X-Request-Id": f"r-{number}"})
        assert answer.headers.get_list("x-request-id") == [f"r-{number}"]
        assert httpx.request(method, url).headers["x-request-id"] not in ("", f"r-{number}")
        codes[f"r-{number}"] = str(answer.status_code)
    found: dict[str, str] = {}
    for _ in range(100):
        found = {line["request"]: line["code"] for line in lines(folder)}
        if found.keys() >= codes.keys():
            break
        time.sleep(0.05)
    assert {name: found[name] for name in codes} == codes


def test_a_file_is_identified_under_its_trace(running: Running, folder: Path) -> None:
    """The task API too is one line, in the caller's trace."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = httpx.post(
        f"{running.url}/identify",
        files={"file": ("a.sh", b"#!/bin/sh\n" * 100)},
        headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-Id": "mine"},
    )
    assert answer.status_code == 404  # no model magika here
    for _ in range(100):
        if mine := [line for line in lines(folder) if line["request"] == "mine"]:
            assert (mine[0]["trace"], mine[0]["code"]) == (trace, "404")
            return
        time.sleep(0.05)
    pytest.fail("no line was written")
