"""Puts together what all generator processes measured, and what the gateway itself counted."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import result, series, trace
from benchmarks import sla as slas
from benchmarks.load import gateway_metrics
from benchmarks.load.generator import streams
from benchmarks.load.recorder import RIGHT, Samples, quantile
from benchmarks.result import Pulse, Run, TargetTotals
from benchmarks.sla import Sla

_US = 1e6
_PATIENCE = 3.0  # seconds beyond the end of the last request
_PROMPT_SECONDS, _PROMPT_SHARE = 0.05, 0.005  # how long the first look may take, whichever is more
_LIVE_SECONDS = 5.0  # what is shown while it runs is about so long ago at most


class Collector:
    """Of one repetition.

    Args:
        sla: what is sent.
        path: of the SLA file.
        url: of the gateway's HTTP, for its metrics.
        number: of the repetition, from 1.
    """

    def __init__(self, sla: Sla, path: Path, url: str, number: int) -> None:
        self._sla = sla
        self._url = url
        self._number = number
        self._traces = [trace.of(target, path) for target in sla.target]
        self._samples = Samples(len(sla.target))
        self._pulses: list[Pulse] = []
        self._connects: list[float] = []
        self._done: set[int] = set()
        self._workers = 0
        self._began = 0.0
        self._date = ""
        self._looks: list[str | None] = []
        self._refusal = ""

    def begin(self, workers: int) -> None:
        """The generators have been told to begin."""
        self._workers = workers
        self._began = time.monotonic()
        self._date = datetime.now(UTC).isoformat(timespec="seconds")

    @property
    def seed(self) -> int:
        """Of the repetition; behind the last of the SLA's they begin anew."""
        return seeds(self._sla)[(self._number - 1) % self._sla.repetitions]

    @property
    def running(self) -> bool:
        """Whether it has begun."""
        return bool(self._workers)

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    @property
    def length(self) -> float:
        """Seconds of warm-up and measured time."""
        return self._sla.warmup_seconds + self._sla.duration_seconds

    @property
    def complete(self) -> bool:
        """Whether every generator has sent all it had to, and told of all of it."""
        return self.running and len(self._done) == self._workers

    @property
    def overdue(self) -> bool:
        """Whether nothing more is to be waited for.

        A request may find a connection as late as the generators give up the rest, one timeout
        after the last was due, and then wait for as long again.
        """
        last = self.length + 2 * self._sla.timeout_seconds
        return bool(self._refusal) or (self.running and self.elapsed > last + _PATIENCE)

    def refuse(self, why: str) -> None:
        """A generator cannot take part."""
        self._refusal = why

    def put(self, message: Mapping[str, Any]) -> None:
        """Take what a generator measured since its last message."""
        self._samples.put(message)
        self._pulses += [Pulse(*fields) for fields in message["pulses"]]
        self._connects += message["connects"]
        if message["done"]:
            self._done.add(message["worker"])

    def scrape(self) -> None:
        """Look at the gateway's own histograms: when the measured time begins, and behind it."""
        if self.scraped:
            return
        begun = time.monotonic()
        text = gateway_metrics.fetch(self._url)  # read later: that takes time, and load is on
        took = time.monotonic() - begun
        prompt = max(_PROMPT_SECONDS, _PROMPT_SHARE * self._sla.duration_seconds)
        # In a look that took long, nobody knows which requests it has counted.
        self._looks.append(text if self._looks or took <= prompt else None)

    @property
    def scraped(self) -> bool:
        """Whether `scrape` has looked twice."""
        return len(self._looks) == 2

    def status(self) -> str:
        """A line of JSON for whoever watches."""
        since = self.elapsed - self._sla.warmup_seconds - _LIVE_SECONDS
        targets = []
        for index, target in enumerate(self._sla.target):
            rows = self._samples.lately(index, max(since, -self._sla.warmup_seconds))
            latencies = np.where(rows["fate"] == 0, rows["latency"], np.inf)
            p99 = quantile(latencies.tolist(), 0.99)
            targets.append(
                {
                    "name": target.name,
                    "p99_ms": round(p99 * 1000, 3) if p99 < float("inf") else None,
                    "asked": self._samples.asked[index],
                    "failed": self._samples.failed[index],
                }
            )
        return json.dumps(
            {
                "elapsed": round(self.elapsed, 2) if self.running else 0.0,
                "length": self.length,
                "warmup": self._sla.warmup_seconds,
                "targets": targets,
            }
        )

    def write(self, folder: Path) -> Path:
        """Write the repetition as `benchmarks.result` has it. Returns its folder."""
        samples, totals = {}, {}
        for index, target in enumerate(self._sla.target):
            samples[target.name], totals[target.name] = self._target(index)
        run = Run(
            number=self._number,
            seed=self.seed,
            began=self._date,
            seconds=self._sla.duration_seconds,
            workers=self._workers,
            complete=self.complete,
            problem=self._problem(),
            pulses=tuple(sorted(self._pulses, key=lambda pulse: (pulse.second, pulse.worker))),
            connect_ms=tuple(round(seconds * 1000, 3) for seconds in self._connects),
            targets=totals,
        )
        return result.write(folder, run, samples)

    def _problem(self) -> str:
        if self._refusal or self.complete:
            return self._refusal
        if not self.running:
            return "the load never began: not all generator processes and users were there"
        missing = self._workers - len(self._done)
        return f"{missing} of {self._workers} generator processes did not end their share"

    def _target(self, index: int) -> tuple[dict[str, series.Samples], TargetTotals]:
        target, length = self._sla.target[index], self._sla.duration_seconds
        rows = self._samples.of(index, length)
        seconds = rows["intended"].astype(np.int64)
        right = rows["fate"] == 0

        def times(field: str, of: Any) -> series.Samples:
            micros = np.ceil(rows[field][of] * _US).astype(np.int64)
            return series.Samples(seconds[of], micros)

        every, sent = np.ones(len(rows), bool), rows["service"] > 0
        samples = {
            series.LATENCY: times("latency", right),
            series.SERVICE: times("service", sent),
            series.LATE: times("late", sent),
            series.WAIT: times("wait", every),
        }
        counted = Counter(rows["fate"].tolist())
        failures = {self._samples.fate(n): c for n, c in counted.items()}
        failures.pop(RIGHT, None)
        texts = self._samples.failures.texts
        seconds_in_all = int(np.ceil(length))
        failed = np.bincount(seconds[~right], minlength=seconds_in_all)
        server = self._server(target)
        return samples, TargetTotals(
            failed=tuple(failed.tolist()),
            failures=failures,
            examples=tuple(
                f"{kind}: {text}"
                for (t, kind), kept in texts.items()
                if t == index
                for text in kept
            ),
            unsent=self._planned(index) - len(rows),
            server=server.get("latency", {}),
            server_batches=server.get("batches", {}),
            server_queue=server.get("queue", {}),
        )

    def _planned(self, index: int) -> int:
        if not self.running:
            return 0
        warm, length = self._sla.warmup_seconds, self._sla.duration_seconds
        stream = streams(self._sla, self.seed, self._traces)[index]
        due = takewhile(lambda at: at < warm + length, stream)
        return sum(0 <= at - warm < length for at in due)  # as the samples are chosen

    def _server(self, target: slas.Target) -> dict[str, dict[str, float]]:
        if not self.scraped or None in self._looks:
            return {}
        before, after = (gateway_metrics.histograms(text or "") for text in self._looks)
        protocol = "grpc" if target.wire == "grpc" else "http"
        alone = sum(
            t.model == target.model and (t.wire == "grpc") == (target.wire == "grpc")
            for t in self._sla.target
        )
        found = {
            "batches": gateway_metrics.between(before, after, "lupine_batch_rows", target.model),
            "queue": gateway_metrics.between(
                before, after, "lupine_queue_duration_seconds", target.model
            ),
        }
        if alone == 1:  # else nobody can tell which of them a request was for
            found["latency"] = gateway_metrics.between(
                before, after, "lupine_request_duration_seconds", target.model, protocol
            )
        return found


def seeds(sla: Sla) -> Sequence[int]:
    """The seed of each repetition."""
    return [sla.seed * 1_000 + number for number in range(1, sla.repetitions + 1)]
