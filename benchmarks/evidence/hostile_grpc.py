"""Bad calls by the hundred and HTTP/2 misused: each is refused, and good callers are served on.

The table is fired case by case, several times over, each as a call of its own and, where a stream
can carry it, between two good messages of a stream; with a good request on another connection
after each. Then once more by many at a time. Then each trick upon HTTP/2 goes on for seconds, from
a process of its own, while a few good callers go on. The worker's memory is watched all the while,
and its log must tell of no defect.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.progress import track

from benchmarks.harness.gateway import Running, gateway
from benchmarks.harness.record import Evidence
from benchmarks.hostile import grpc_repository, grpc_table
from benchmarks.hostile.grpc_callers import Served, calling
from benchmarks.hostile.grpc_case import Case
from benchmarks.hostile.grpc_exchange import Exchange, questions
from benchmarks.hostile.grpc_messages import goods
from benchmarks.hostile.grpc_methods import reflections
from benchmarks.hostile.http2_tricks import TRICKS
from benchmarks.hostile.http2_wire import Seen
from benchmarks.hostile.memory import Memory, report

MAX_MESSAGE = 64 << 20  # the gateway's default
ROUNDS = 4
AT_ONCE = 16
TRICK_SECONDS = 4.0
_PATIENCE = {"LUPINE_SERVER__HEADER_SECONDS": "2"}
_MAX_KEPT = 64  # MiB above what was before the tricks
_MAX_CPU = 5.0  # percent of a core, when an attack is over
_MAX_LEFT = 20  # descriptors


@dataclass(slots=True)
class _Tally:
    """What came of the cases of one category."""

    statuses: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    wrong: int = 0

    def text(self) -> str:
        counts = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        return f"{counts}; slowest {self.slowest * 1000:.0f} ms"


class _Firing:
    """Fires cases and good requests, and keeps what came of them."""

    def __init__(self, port: int, evidence: Evidence) -> None:
        self._address = ("127.0.0.1", port)
        self._evidence = evidence
        self._own = threading.local()
        self._opened: list[Exchange] = []
        self.tallies: dict[str, _Tally] = defaultdict(_Tally)
        self.fired = self.good = self.streamed = 0
        self._lock = threading.Lock()
        for name, (message, contents) in goods().items():
            if fault := self._exchange().answer(message, contents):
                evidence.fault(f"the good request {name}: {fault}")

    def _exchange(self) -> Exchange:
        """The thread's own."""
        if not hasattr(self._own, "exchange"):
            self._own.exchange = Exchange(self._address)
            self._opened.append(self._own.exchange)
        found: Exchange = self._own.exchange
        return found

    def close(self) -> None:
        """Close every channel."""
        for exchange in self._opened:
            exchange.close()

    def one(self, case: Case) -> None:
        exchange = self._exchange()
        outcome = exchange.fire(case)
        streams = list(questions([case]))
        on_stream = exchange.on_stream(streams[0]) if streams else ""
        served = exchange.ask()
        with self._lock:
            self.fired += 1
            self.good += served
            self.streamed += len(streams)
            tally = self.tallies[case.category]
            tally.statuses[outcome.status] += 1
            tally.slowest = max(tally.slowest, outcome.seconds)
            for where, fault in (
                ("", outcome.fault),
                (" (on a stream)", on_stream),
                (" (after it)", "" if served else "the good request was not served"),
            ):
                if fault:
                    tally.wrong += 1
                    self._tell(f"{case.category}, {case.name}{where}: {fault}")

    def _tell(self, fault: str) -> None:
        """Once, however many rounds find it."""
        if fault not in self._evidence.wrong:
            self._evidence.fault(fault)

    def reflections(self) -> None:
        tally = self.tallies["reflection"]
        for name, question in reflections().items():
            tally.statuses["asked"] += 1
            if fault := self._exchange().reflect(question):
                tally.wrong += 1
                self._tell(f"reflection, {name}: {fault}")


def main() -> int:
    """Fire, judge and record."""
    evidence = Evidence(
        "hostile-grpc", "identity graphs; one worker, 2 s for a handshake, else default limits"
    )
    with tempfile.TemporaryDirectory(prefix="lupine-hostile-") as scratch:
        models = grpc_repository.build(Path(scratch))
        with gateway(
            "--repository", str(models), "--workers", "1", environment=_PATIENCE
        ) as running:
            (worker,) = running.workers()
            backend = "Triton, Python backend" if running.tritonserver() else "ONNX Runtime"
            evidence.backend = f"{backend}; {evidence.backend}"
            _fire_all(evidence, running, worker)
            _play_all(evidence, running, worker)
            if running.workers() != [worker]:
                evidence.fault("the worker was replaced")
            _report_log(evidence, running)
    return evidence.finish()


def _fire_all(evidence: Evidence, running: Running, worker: psutil.Process) -> None:
    cases = list(grpc_table.cases(MAX_MESSAGE))
    firing = _Firing(running.grpc_port, evidence)
    memory = Memory(worker)
    idle, descriptors = memory.settled(), worker.num_fds()
    after = []
    with memory.watched():
        for turn in range(ROUNDS):
            for case in track(cases, f"round {turn + 1}"):
                firing.one(case)
            firing.reflections()
            after.append(memory.settled())
        peak = memory.peak
    # What is large was fired; many at once would only fill the machine.
    together = [case for case in cases if case.category not in grpc_table.LARGE]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(track(pool.map(firing.one, together), "at once", len(together)))
    firing.close()
    after.append(memory.settled())
    _report(evidence, firing, len(cases), len(list(questions(cases))))
    report(evidence, idle=idle, after=after, peak=peak, max_body=MAX_MESSAGE, at_once=AT_ONCE)
    _report_left(evidence, "the table", worker, descriptors)


def _report(evidence: Evidence, firing: _Firing, cases: int, streamed: int) -> None:
    for category, tally in firing.tallies.items():
        evidence.add(category, tally.text(), "refused with a reason", holds=not tally.wrong)
    evidence.add("bad calls in the table", cases, "at least 300", holds=cases >= 300)
    evidence.add("of them sent on a stream as well", streamed)
    evidence.add(
        "good requests served right after a bad one",
        f"{firing.good} of {firing.fired}",
        "all",
        holds=firing.good == firing.fired,
    )
    evidence.raw["statuses"] = {name: t.statuses for name, t in firing.tallies.items()}
    evidence.raw["slowest_seconds"] = {n: round(t.slowest, 4) for n, t in firing.tallies.items()}


def _report_left(evidence: Evidence, name: str, worker: psutil.Process, before: int) -> None:
    left = worker.num_fds() - before
    evidence.add(
        f"descriptors left by {name}", left, f"at most {_MAX_LEFT}", holds=left <= _MAX_LEFT
    )


def _report_log(evidence: Evidence, running: Running) -> None:
    """What the gateway holds for a defect of its own, it logs with where it happened."""
    defects = Counter(
        text.rstrip().rpartition("\n")[2][:120]
        for text in re.split(r"\n(?=\S*(?:\d{4}-\d\d-\d\dT|lupine:))", running.log.read_text())
        if "Traceback" in text
    )
    evidence.add("defects in its log", defects.total(), "none", holds=not defects)
    for what, count in defects.most_common(10):
        evidence.fault(f"{count} defects in the log: {what}")
    evidence.raw["defects"] = defects


def _play_all(evidence: Evidence, running: Running, worker: psutil.Process) -> None:
    """Each trick for some seconds, and a quiet spell before and behind."""
    address = ("127.0.0.1", running.grpc_port)
    memory = Memory(worker)
    before, descriptors = memory.settled(), worker.num_fds()
    played = {}
    with calling(address) as quiet:
        time.sleep(TRICK_SECONDS)
    with memory.watched():
        for name in track(TRICKS, "tricks"):
            with calling(address) as served:
                seen = _attack(name, address)
            played[name] = (served, seen)
    after = memory.settled()
    time.sleep(2.0)  # handshakes that never came are given up
    cpu = worker.cpu_percent(2.0)
    with calling(address) as again:
        time.sleep(TRICK_SECONDS)
    for name, served in (("quiet, before", quiet), ("quiet, after", again)):
        evidence.add(f"good callers' p50 and p99, {name}", _times(served))
    for name, (served, seen) in played.items():
        _report_trick(evidence, name, served, seen)
    evidence.add(
        "memory before the tricks, at most, and after",
        f"{before:.0f}, {memory.peak:.0f}, {after:.0f} MiB",
        f"at most {_MAX_KEPT} MiB more after",
        holds=after - before <= _MAX_KEPT,
    )
    evidence.add("CPU after the tricks", f"{cpu:.0f} %", f"≤ {_MAX_CPU:g} %", holds=cpu <= _MAX_CPU)
    _report_left(evidence, "the tricks", worker, descriptors)
    evidence.raw["tricks"] = {name: _raw(*found) for name, found in played.items()}


def _attack(name: str, address: tuple[str, int]) -> Seen:
    host, port = address
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.hostile.http2_attack",
            name,
            host,
            str(port),
            str(TRICK_SECONDS),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    told = json.loads(done.stdout)
    for key in ("statuses", "resets", "goaways"):
        told[key] = Counter(told[key])
    return Seen(**told)


def _report_trick(evidence: Evidence, name: str, served: Served, seen: Seen) -> None:
    trick = TRICKS[name]
    for what, count in Counter(served.lost).items():
        evidence.fault(f"{name}: good callers got {what}, {count} times")
    answered = f"{len(served.seconds)} served, {len(served.lost)} lost, {_times(served)}"
    evidence.add(
        name,
        f"{answered}; {seen.sent / 2**20:.1f} MiB sent; {_ends(seen)}",
        "; ".join(filter(None, ["none lost", trick.target])),
        holds=bool(served.seconds) and not served.lost and trick.holds(seen),
    )


def _times(served: Served) -> str:
    return f"{served.quantile(0.5):.1f} and {served.quantile(0.99):.1f} ms"


def _ends(seen: Seen) -> str:
    """In words, what the server did about it."""
    told = [f"{seen.closed} of {seen.connections} connections closed"]
    for kind, counter in (("", seen.statuses), ("reset ", seen.resets), ("", seen.goaways)):
        told += [f"{kind}{what[:60]} × {n}" for what, n in counter.most_common(2)]  # noqa: RUF001 - times
    return ", ".join(told)


def _raw(served: Served, seen: Seen) -> dict[str, object]:
    return {
        "served": len(served.seconds),
        "lost": served.lost,
        "p50_ms": served.quantile(0.5),
        "p99_ms": served.quantile(0.99),
        "slowest_ms": served.quantile(1.0),
        "seen": {key: getattr(seen, key) for key in Seen.__slots__},
    }
