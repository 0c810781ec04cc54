"""`lupine bench` as people and CI type it, against real gateways."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from junitparser import JUnitXml

from benchmarks.harness.gateway import LUPINE, ROOT, Running, free_port, gateway
from benchmarks.report import document
from tests.patient import PATIENT_MS, patient_repository

GOLDEN = ROOT / "models" / "golden" / "digits.json"
HEAD = """
title = "a trial"
warmup_seconds = 0.5
duration_seconds = {seconds}
repetitions = {repetitions}
timeout_seconds = 20
"""
TARGET = """
[[target]]
name = "{name}"
model = "digits"
wire = "{wire}"
rate = {rate}
payloads = "{payloads}"
limits = {{ {quantile}_ms = {limit}, error_ratio = 0.0 }}
"""

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that serves `digits`, in process."""
    repository = patient_repository(tmp_path_factory.mktemp("patient"), "digits")
    with gateway("--engine", "onnx", "--workers", "1", "--repository", str(repository)) as started:
        yield started


def sla(
    folder: Path,
    *wires: str,
    rate: float = 200,
    limit: float = PATIENT_MS,
    seconds: float = 2,
    repetitions: int = 1,
    payloads: Path = GOLDEN,
    quantile: str = "p99",
) -> Path:
    """An SLA file with a target for each wire."""
    targets = [
        TARGET.format(
            name=f"by {wire}",
            wire=wire,
            rate=rate,
            payloads=payloads,
            limit=limit,
            quantile=quantile,
        )
        for wire in wires
    ]
    path = folder / "sla.toml"
    path.write_text("".join([HEAD.format(seconds=seconds, repetitions=repetitions), *targets]))
    return path


def bench(*words: str, folder: Path) -> Done:
    """Run the command in a folder."""
    return subprocess.run(
        [LUPINE, "bench", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def at(running: Running) -> tuple[str, ...]:
    """Where a gateway is."""
    return "--url", running.url, "--grpc-url", running.grpc_url


@pytest.fixture(scope="module")
def kept(running: Running, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """A promise about every wire, kept in two repetitions: the command, and its report."""
    folder = tmp_path_factory.mktemp("kept")
    path = sla(folder, "http-binary", "http-json", "grpc", repetitions=2, seconds=6, rate=100)
    # On a machine that is busy with other tests a quantile stays open; that nothing fails does not.
    path.write_text(re.sub(r"p99_ms = \d+, ", "", path.read_text()))
    done = bench("--sla", str(path), "--out", "report", *at(running), folder=folder)
    return done, folder / "report"


def test_a_kept_promise_passes_and_can_be_verified(kept: tuple[Done, Path], tmp_path: Path) -> None:
    """Status 0, all files of a report; and the raw data give the same verdict again."""
    done, report = kept
    shutil.copytree(report, tmp_path / "report")  # it is forged below, and others read it
    told = document.read(tmp_path / "report")
    for target in told.targets:
        assert not target.failed, done.stdout
        assert not target.unsent
        assert target.asked > 1000
        assert target.answered == target.asked
    if told.verdict.doubts:  # the machine was too busy, and it says so: the rest must hold still
        assert done.returncode == 2, done.stdout + done.stderr
    else:
        assert done.returncode == 0, done.stdout + done.stderr
    assert told.verdict.outcome in done.stdout
    assert (
        told.environment.models[0].sha256
        in GOLDEN.parents[1].joinpath("manifests/digits.json").read_text()
    )
    suites = JUnitXml.fromfile(str(tmp_path / "report" / "junit.xml"))
    assert {suite.name for suite in suites} >= {f"by {w}" for w in ("grpc", "http-json")}
    assert (tmp_path / "report" / "report.html").stat().st_size > 20_000
    again = bench("verify", "report", folder=tmp_path)
    assert again.returncode == done.returncode, again.stderr
    raw = tmp_path / "report" / "run-1" / "by-grpc.hlog"
    raw.write_text(raw.read_text().replace("Tag=latency,1.000", "Tag=latency,0.000", 1))
    forged = bench("verify", "report", folder=tmp_path)
    assert forged.returncode == 3
    assert "by-grpc.hlog is not the one that was reported on" in forged.stderr


def test_wrong_answers_fail(running: Running, tmp_path: Path) -> None:
    """However fast they are; the report shows one of them."""
    golden = json.loads(GOLDEN.read_text())
    golden["cases"][0]["outputs"][0]["data"][0] += 1
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(golden))
    path = sla(tmp_path, "http-binary", "grpc", payloads=wrong)
    done = bench("--sla", str(path), "--out", "report", *at(running), folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    for target in document.read(tmp_path / "report").targets:
        share = target.failed["wrong answer"] / target.asked
        assert share == pytest.approx(1 / len(golden["cases"]), abs=0.02)
    assert "logits is off by" in (tmp_path / "report" / "report.html").read_text()


def test_too_few_samples_are_inconclusive(running: Running, tmp_path: Path) -> None:
    """Nobody can promise p99 out of fifty requests; how many it takes is told."""
    path = sla(tmp_path, "http-binary", rate=25)
    done = bench("--sla", str(path), "--out", "report", *at(running), folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    (target,) = document.read(tmp_path / "report").verdict.targets
    p99 = next(claim for claim in target.claims if claim.name == "p99")
    assert p99.needed is not None
    assert p99.needed >= 299  # 0.99 ** n falls to 5 % there


def test_a_broken_promise_fails(running: Running, tmp_path: Path) -> None:
    """A limit that no network keeps."""
    path = sla(tmp_path, "http-json", limit=0.01, seconds=10)
    done = bench("--sla", str(path), "--out", "report", *at(running), folder=tmp_path)
    told = document.read(tmp_path / "report").verdict
    (p99,) = (claim for claim in told.targets[0].claims if claim.name == "p99")
    assert p99.low is None or p99.low > 0.01
    # The generator cannot be on time to a hundredth of a tenth of a millisecond either.
    assert done.returncode == (2 if told.doubts else 1)


def test_a_dead_server_fails(tmp_path: Path) -> None:
    """Quickly, and the report says that nobody was there."""
    port = free_port()
    path = sla(tmp_path, "http-binary", "grpc", repetitions=3)
    where = ("--url", f"http://127.0.0.1:{port}", "--grpc-url", f"127.0.0.1:{free_port()}")
    done = bench("--sla", str(path), "--out", "report", *where, folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "nobody answers at" in done.stderr
    http, grpc = document.read(tmp_path / "report").targets
    assert http.failed == {"connection refused": http.asked}
    assert grpc.failed == {"UNAVAILABLE": grpc.asked}


def test_a_slow_connect_counts(running: Running, tmp_path: Path) -> None:
    """The time that a connection takes to make is the client's time too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        stop = threading.Event()

        def relay(one: socket.socket) -> None:
            time.sleep(0.4)  # before anything is passed on
            with one, socket.create_connection(("127.0.0.1", running.port)) as other:
                one.settimeout(5)
                other.settimeout(5)
                one.sendall(_exchange(other, one.recv(1 << 16)))

        def accept() -> None:
            while not stop.is_set():
                try:
                    one, _ = listener.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=relay, args=(one,)).start()

        listener.settimeout(0.2)
        thread = threading.Thread(target=accept)
        thread.start()
        path = sla(tmp_path, "http-json", rate=20, limit=200)
        url = ("--url", f"http://127.0.0.1:{port}")
        done = bench("--sla", str(path), "--out", "report", *url, folder=tmp_path)
        stop.set()
        thread.join()
    (target,) = document.read(tmp_path / "report").targets
    assert target.latency.p50_ms is None or target.latency.p50_ms > 400
    assert done.returncode in (1, 2)


def _exchange(server: socket.socket, request: bytes) -> bytes:
    """One request and its answer, which says that it is the last."""
    server.sendall(re.sub(rb"\r\n", b"\r\nConnection: close\r\n", request, count=1))
    answer = b""
    while chunk := server.recv(1 << 16):
        answer += chunk
    return answer


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--no-such-flag",), "No such option"),
        (("verify", "full"), "no report that can be verified"),
    ],
)
def test_a_wrong_call_ends_with_status_3(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """And one that names what was wrong; more of them in the benchmark's unit tests."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = bench(*words, folder=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert told in " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.stderr).split())


def test_an_error_in_the_sla_names_its_line(tmp_path: Path) -> None:
    """And what would be right."""
    path = sla(tmp_path, "http-json")
    path.write_text(path.read_text().replace("rate = 200", "rate = -5"))
    line = 1 + path.read_text().splitlines().index("rate = -5")
    done = bench("--sla", "sla.toml", folder=tmp_path)
    assert done.returncode == 3
    assert f"sla.toml:{line}: target.0.rate: Expected `float` > 0" in done.stderr


def test_several_processes_share_one_load(running: Running, tmp_path: Path) -> None:
    """Together they send exactly what is due, none of it twice."""
    path = sla(tmp_path, "http-binary", "grpc", rate=100)
    done = bench(
        "--sla", str(path), "--processes", "2", "--out", "report", *at(running), folder=tmp_path
    )
    told = document.read(tmp_path / "report")
    assert done.returncode in (0, 2), done.stdout + done.stderr
    run = json.loads((tmp_path / "report" / "run-1" / "run.json").read_text())
    assert run["complete"]
    assert run["workers"] == 2
    assert {pulse["worker"] for pulse in run["pulses"]} == {0, 1}
    for target in told.targets:
        assert not target.unsent
        assert not target.failed


def test_a_generator_that_stands_still_is_inconclusive(running: Running, tmp_path: Path) -> None:
    """It says so of itself, although every latency keeps its limit."""
    # What has queued up when it wakes must not be more than the model's own SLO lets in.
    path = sla(tmp_path, "http-binary", rate=20, limit=15_000, seconds=10, quantile="p95")
    process = subprocess.Popen(
        [LUPINE, "bench", "--sla", str(path), "--out", "report", *at(running)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _await_progress(process, tmp_path, lines=4)
    (locust,) = psutil.Process(process.pid).children()
    locust.suspend()
    time.sleep(3)
    locust.resume()
    assert process.wait(60) == 2
    told = document.read(tmp_path / "report").verdict
    assert any("late" in doubt.what for doubt in told.doubts)
    assert all(doubt.advice for doubt in told.doubts)


def _await_progress(process: subprocess.Popen[bytes], folder: Path, lines: int) -> None:
    """Until so many lines are there, one a second; with the second the measured time has begun."""
    progress = folder / "report" / "run-1" / "progress.jsonl"
    while not (progress.exists() and progress.read_text().count("\n") >= lines):
        time.sleep(0.1)
        assert process.poll() is None


def test_workers_elsewhere_share_the_load(running: Running, tmp_path: Path) -> None:
    """A master that makes no load, and a worker that it finds by its port."""
    path = sla(tmp_path, "http-binary", rate=50, seconds=3)
    port = str(free_port())
    worker = subprocess.Popen(
        [LUPINE, "bench", "--worker", "--sla", str(path), "--master-port", port],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        flags = ("--master", "--expect-workers", "1", "--master-port", port)
        done = bench("--sla", str(path), *flags, "--out", "report", *at(running), folder=tmp_path)
        run = json.loads((tmp_path / "report" / "run-1" / "run.json").read_text())
        assert run["complete"], done.stderr
        assert run["workers"] == 1
        (target,) = document.read(tmp_path / "report").targets
        assert target.asked > 80
        assert not target.unsent
        assert not target.failed
    finally:
        os.killpg(worker.pid, signal.SIGTERM)
        worker.wait(30)


def test_a_baseline_is_compared_with_and_kept(
    running: Running, kept: tuple[Done, Path], tmp_path: Path
) -> None:
    """The ratio of the two p99 is a claim of its own; the new report can be verified alone."""
    first, report = kept
    assert first.returncode in (0, 2), first.stdout + first.stderr
    shutil.copytree(report, tmp_path / "first")
    path = sla(tmp_path, "http-json", seconds=10)
    path.write_text(path.read_text().replace("error_ratio", "regression = 50.0, error_ratio"))
    flags = ("--sla", str(path), "--out", "second", "--baseline", "first")
    done = bench(*flags, *at(running), folder=tmp_path)
    second = document.read(tmp_path / "second")
    (target,) = second.verdict.targets
    claim = next(claim for claim in target.claims if "baseline" in claim.name)
    p99s = {one.name: one.latency.p99_ms for one in document.read(report).targets}
    before, (now,) = p99s["by http-json"], [one.latency.p99_ms for one in second.targets]
    assert before is not None
    assert now is not None
    assert claim.measured == pytest.approx(now / before)
    shutil.rmtree(tmp_path / "first")
    assert bench("verify", "second", folder=tmp_path).returncode == done.returncode


def test_ctrl_c_ends_it_and_leaves_a_report(running: Running, tmp_path: Path) -> None:
    """Of what there is so far: it says that it is not whole."""
    path = sla(tmp_path, "http-binary", seconds=60)
    process = subprocess.Popen(
        [LUPINE, "bench", "--sla", str(path), "--out", "report", *at(running)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _await_progress(process, tmp_path, lines=2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 2
    doubts = document.read(tmp_path / "report").verdict.doubts
    assert any("did not end" in doubt.what for doubt in doubts)


def test_locust_runs_the_file_alone_with_its_web_page(running: Running, tmp_path: Path) -> None:
    """The page starts the load, and shows a target's requests."""
    port = free_port()
    path = sla(tmp_path, "http-binary", seconds=30)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks" / "locustfile.py")),
            *("--web-host", "127.0.0.1", "--web-port", str(port), "--loglevel", "ERROR"),
            *("--host", running.url, "--grpc-url", running.grpc_url),
        ],
        env={**_bare(), "LUPINE_BENCH_SLA": str(path)},
        cwd=tmp_path,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as page:
            while True:
                try:
                    assert "Locust" in page.get("/").text
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    time.sleep(0.1)
            assert page.post("/swarm", data={"host": running.url}).json()["success"]
            shown: list[str] = []
            while "by http-binary" not in shown:
                time.sleep(0.2)
                assert process.poll() is None
                shown = [row["name"] for row in page.get("/stats/requests").json()["stats"]]
            assert page.post("/stop").json()["success"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _bare() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("LUPINE_")}
