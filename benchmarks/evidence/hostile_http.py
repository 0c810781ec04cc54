"""Bad requests by the hundred: each is refused with a reason, and the next good one is served.

The table is fired case by case, several times over, with a good request after each; then once more
by many at a time. The worker's memory is watched all the while.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import track

from benchmarks.harness.gateway import gateway
from benchmarks.harness.record import Evidence
from benchmarks.hostile import repository, table
from benchmarks.hostile.case import Case
from benchmarks.hostile.exchange import ask, fire
from benchmarks.hostile.memory import Memory, report

MAX_BODY = 64 << 20  # the gateway's default
ROUNDS = 6
AT_ONCE = 16
_PATIENCE = {"LUPINE_SERVER__HEADER_SECONDS": "2", "LUPINE_SERVER__BODY_IDLE_SECONDS": "2"}


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
            memory = Memory(worker)
            firing = _Firing(running.port, evidence)
            idle = memory.now()
            after = []
            with memory.watched():
                for turn in range(ROUNDS):
                    again = [case for case in cases if turn == 0 or not case.slow]
                    for case in track(again, f"round {turn + 1}"):
                        firing.one(case)
                    after.append(memory.settled())
                peak = memory.peak
                # What is large or slow was fired; many at once would only fill the machine.
                together = [case for case in cases if case.category not in _ALONE]
                with ThreadPoolExecutor(AT_ONCE) as pool:
                    list(track(pool.map(firing.one, together), "at once", len(together)))
                after.append(memory.settled())
            if running.workers() != [worker]:
                evidence.fault("the worker was replaced")
    fired = ROUNDS * len(cases) - (ROUNDS - 1) * sum(case.slow for case in cases) + len(together)
    _report(evidence, firing, len(cases), fired)
    report(evidence, idle=idle, after=after, peak=peak, max_body=MAX_BODY, at_once=AT_ONCE)
    return evidence.finish()


_ALONE = {"oversize bodies", "compression", "slow"}


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
