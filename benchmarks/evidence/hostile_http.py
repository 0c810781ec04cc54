"""Bad requests by the hundred: each is refused with a reason, and the next good one is served.

The table is fired case by case, several times over, with a good request after each; then once more
by many at a time. The worker's memory is watched all the while.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.progress import track

from benchmarks.harness.gateway import gateway
from benchmarks.harness.record import Evidence
from benchmarks.hostile import repository, table
from benchmarks.hostile.case import Case
from benchmarks.hostile.exchange import ask, fire

MAX_BODY = 64 << 20  # the gateway's default
ROUNDS = 6
AT_ONCE = 16
_PATIENCE = {"LUPINE_SERVER__HEADER_SECONDS": "2", "LUPINE_SERVER__BODY_IDLE_SECONDS": "2"}
_MIB = 1 << 20
_MAX_KEPT = MAX_BODY // _MIB  # MiB above idle: what the allocator may hold of one freed body
_MAX_GROWTH = 4  # MiB from the first rounds to the last: what leaks raises the lowest of them too
_MAX_PEAK = 4 * MAX_BODY // _MIB  # MiB above idle: one body as it came, as it grew, and inflated


@dataclass(slots=True)
class _Tally:
    """What came of the cases of one category."""

    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0

    def text(self) -> str:
        counts = ", ".join(
            f"{status or 'closed'}: {count}" for status, count in sorted(self.statuses.items())
        )
        return f"{counts}; slowest {self.slowest * 1000:.0f} ms"


class _Firing:
    """Fires cases and good requests, and keeps what came of them."""

    def __init__(self, port: int, evidence: Evidence) -> None:
        self._address = ("127.0.0.1", port)
        self._evidence = evidence
        self._served = ask(self._address)
        self.tallies: dict[str, _Tally] = defaultdict(_Tally)
        self.good = 0
        if b'"data":[1.0,2.0,3.0]' not in self._served:
            evidence.fault(f"the first good request got {self._served!r}")

    def one(self, case: Case) -> None:
        outcome = fire(self._address, case)
        tally = self.tallies[case.category]
        tally.statuses[outcome.status] += 1
        tally.slowest = max(tally.slowest, outcome.seconds)
        if outcome.fault:
            self._evidence.fault(f"{case.category}, {case.name}: {outcome.fault}")
        if ask(self._address) == self._served:
            self.good += 1
        else:
            self._evidence.fault(f"{case.category}, {case.name}: the good request was not served")


class _Memory:
    """The resident memory of a process, in MiB, and its peak."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._done = threading.Event()
        self.peak = 0.0

    def now(self) -> float:
        found = self._process.memory_info().rss / _MIB
        self.peak = max(self.peak, found)
        return found

    @contextmanager
    def watched(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.now()


def main() -> int:
    """Fire, judge and record."""
    evidence = Evidence(
        "hostile-http", "identity graphs; one worker, 2 s for a head, else default limits"
    )
    cases = list(table.cases(MAX_BODY))
    with tempfile.TemporaryDirectory(prefix="lupine-hostile-") as scratch:
        models = repository.build(Path(scratch))
        with gateway(
            "--repository", str(models), "--workers", "1", environment=_PATIENCE
        ) as running:
            (worker,) = running.workers()
            backend = "Triton, Python backend" if running.tritonserver() else "ONNX Runtime"
            evidence.backend = f"{backend}; {evidence.backend}"
            memory = _Memory(worker)
            firing = _Firing(running.port, evidence)
            idle = memory.now()
            after = []
            with memory.watched():
                for turn in range(ROUNDS):
                    again = [case for case in cases if turn == 0 or not case.slow]
                    for case in track(again, f"round {turn + 1}"):
                        firing.one(case)
                    after.append(_settled(memory))
                peak = memory.peak
                # What is large or slow was fired; many at once would only fill the machine.
                together = [case for case in cases if case.category not in _ALONE]
                with ThreadPoolExecutor(AT_ONCE) as pool:
                    list(track(pool.map(firing.one, together), "at once", len(together)))
                after.append(_settled(memory))
            if running.workers() != [worker]:
                evidence.fault("the worker was replaced")
    fired = ROUNDS * len(cases) - (ROUNDS - 1) * sum(case.slow for case in cases) + len(together)
    _report(evidence, firing, len(cases), fired)
    _report_memory(evidence, idle, after, peak)
    return evidence.finish()


_ALONE = {"oversize bodies", "compression", "slow"}


def _settled(memory: _Memory) -> float:
    time.sleep(1.0)  # connections that were cut are taken down
    return memory.now()


def _report(evidence: Evidence, firing: _Firing, cases: int, fired: int) -> None:
    for category, tally in firing.tallies.items():
        right = not any(what.startswith(f"{category},") for what in evidence.wrong)
        evidence.add(category, tally.text(), "4xx with a reason", holds=right)
    evidence.add("bad requests in the table", cases, "at least 300", holds=cases >= 300)
    evidence.add(
        "good requests served right after a bad one",
        f"{firing.good} of {fired}",
        "all",
        holds=firing.good == fired,
    )
    evidence.raw["statuses"] = {
        category: {str(status): count for status, count in tally.statuses.items()}
        for category, tally in firing.tallies.items()
    }
    evidence.raw["slowest_seconds"] = {c: round(t.slowest, 4) for c, t in firing.tallies.items()}


def _report_memory(evidence: Evidence, idle: float, after: list[float], peak: float) -> None:
    rounds = ", ".join(f"{mib:.0f}" for mib in after)
    evidence.add("the worker's memory when idle", f"{idle:.0f} MiB")
    evidence.add(
        f"its memory after each of {ROUNDS} rounds, and after {AT_ONCE} at a time",
        f"{rounds} MiB",
        f"at most {_MAX_KEPT} MiB over idle",
        holds=max(after) - idle <= _MAX_KEPT,
    )
    half = ROUNDS // 2
    growth = min(after[half:]) - min(after[:half])
    evidence.add(
        f"growth of the lowest, from the first {half} rounds to the rest",
        f"{growth:.1f} MiB",
        f"at most {_MAX_GROWTH} MiB",
        holds=growth <= _MAX_GROWTH,
    )
    evidence.add(
        "its peak, one at a time",
        f"{peak:.0f} MiB",
        f"at most {_MAX_PEAK} MiB over idle",
        holds=peak - idle <= _MAX_PEAK,
    )
    evidence.raw["memory_mib"] = {"idle": idle, "after": after, "peak": peak}
