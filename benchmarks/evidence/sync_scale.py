"""Five hundred models in a real MLflow: what a first sync takes, and what an idle one does."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.harness import adding, scale
from benchmarks.harness.gateway import LUPINE, free_port
from benchmarks.harness.processes import stop
from benchmarks.harness.record import Evidence
from benchmarks.harness.registered import Registered
from benchmarks.harness.registry import registry

_MODELS = 500
_WATCH_SECONDS = 60.0
_POLL_SECONDS = 2.0
_STOP_SECONDS = 30.0
_CALL = re.compile(r'"(?:GET|POST|PUT|PATCH) /api/')
_MIB = 1 << 20


def main() -> int:
    """Register, sync, idle; print and record. No gateway runs: to load is not the sync's work."""
    evidence = Evidence("sync-scale", "MLflow 3.17.2; no gateway; models of 100 bytes")
    scale.tell(evidence)
    models = scale.times(_MODELS)
    with tempfile.TemporaryDirectory(prefix="lupine-scale-") as scratch:
        folder = Path(scratch)
        (folder / "models").mkdir()
        with registry(folder) as url:
            _register(url, models)
            environment = os.environ | {
                "MLFLOW_TRACKING_URI": url,
                "LUPINE_SERVER__PORT": str(free_port()),
                "LUPINE_REGISTRY__POLL_SECONDS": str(_POLL_SECONDS),
            }
            log = folder / "mlflow.log"
            _first(evidence, folder, log, environment, models)
            _idle(evidence, folder, log, environment)
    return evidence.finish()


def _register(url: str, models: int) -> None:
    published = Registered(url)
    for number in range(models):
        name = f"model-{number}"
        published.model(name)
        for amount, alias in ((1.0, "champion"), (2.0, "challenger")):
            version = published.version(name, {"model.onnx": adding.model(amount + number)})
            published.alias(name, alias, version)
    published.close()


def _first(
    evidence: Evidence, folder: Path, log: Path, environment: dict[str, str], models: int
) -> None:
    calls, began = _calls(log), time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [LUPINE, "sync", "once", "--repository", str(folder / "models")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    calls = _calls(log) - calls
    published = sum(1 for _ in (folder / "models").glob("*/*/model.onnx"))
    if done.returncode or published != 2 * models:
        evidence.fault(f"{published} of {2 * models} versions are there: {done.stderr[-500:]}")
    evidence.add(f"{models} models of 2 versions, a first sync", f"{seconds:.0f} s")
    evidence.add("a version", f"{seconds / models / 2:.2f} s, {cpu / models / 2:.2f} s of CPU")
    evidence.add("calls to the registry", f"{calls:,}: {calls / models / 2:.1f} a version")
    evidence.raw["first"] = {"seconds": seconds, "cpu seconds": cpu, "calls": calls}


def _idle(evidence: Evidence, folder: Path, log: Path, environment: dict[str, str]) -> None:
    """`lupine sync watch` where nothing changes."""
    command = [LUPINE, "sync", "watch", "--repository", str(folder / "models")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        watching = psutil.Process(process.pid)
        time.sleep(3 * _POLL_SECONDS)  # it has started, and polled
        calls, polls, cpu = _calls(log), _polls(log), _cpu(watching)
        seconds = scale.seconds(_WATCH_SECONDS, 10.0)
        time.sleep(seconds)
        calls, polls, cpu = _calls(log) - calls, _polls(log) - polls, _cpu(watching) - cpu
        memory = watching.memory_info().rss
    finally:
        stop(process, _STOP_SECONDS)
    evidence.add("idle", f"{polls} polls in {seconds:.0f} s")
    evidence.add("idle, calls a poll", f"{calls / polls:.1f}", "3", holds=calls <= 3 * polls + 2)
    evidence.add("idle, CPU a poll", f"{1000 * cpu / polls:.0f} ms")
    evidence.add("memory", f"{memory / _MIB:.0f} MiB")
    evidence.raw["idle"] = {"polls": polls, "calls": calls, "cpu seconds": cpu, "rss": memory}


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _calls(log: Path) -> int:
    return len(_CALL.findall(log.read_text(errors="replace")))


def _polls(log: Path) -> int:
    return log.read_text(errors="replace").count("/registered-models/search")
