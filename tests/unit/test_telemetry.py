from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from service.telemetry import Telemetry
from tests.unit.doubles import servable

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

WORKER = """
import sys
from service.telemetry import Telemetry
from tests.unit.doubles import servable

telemetry = Telemetry()
for line in sys.stdin:
    verb = line.strip()
    if verb == "work":
        telemetry.request(model="m", version="1", protocol="http", code="200", seconds=0.02)
        telemetry.batch_sent(servable(), 4, [0.001, 0.002])
        telemetry.shed("m", "permits")
        telemetry.inflight(3)
        telemetry.ran("m", "1", 4, 0.5, ok=True)
        telemetry.ran("m", "1", 4, 0.25, ok=False)
    elif verb == "rest":
        telemetry.inflight(0)
    elif verb == "totals":
        print(telemetry.totals("m", "1"), flush=True)
        continue
    elif verb == "show":
        text = telemetry.exposition().decode()
        print(len(text.splitlines()), flush=True)
        print(text, end="", flush=True)
        continue
    print("done", flush=True)
"""


def read(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


class Worker:
    """A process with metrics of its own, in a folder that it shares."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env={"PROMETHEUS_MULTIPROC_DIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, verb: str) -> str:
        """Tell it what to do, and hear its first line."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{verb}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def show(self) -> Samples:
        """What a scrape of this worker finds."""
        assert self.process.stdout
        count = int(self.do("show"))
        return read("".join(self.process.stdout.readline() for _ in range(count)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=10)
        assert self.process.returncode == 0


def test_every_metric_of_the_contract_is_there() -> None:
    """By its name, type suffixes included."""
    telemetry = Telemetry()
    telemetry.request(model="m", version="1", protocol="http", code="200", seconds=0.02)
    telemetry.batch_sent(servable(), 4, [0.001])
    telemetry.shed("m", "permits")
    telemetry.inflight(1)
    names = {name for name, _ in read(telemetry.exposition().decode())}
    assert {
        "lupine_request_duration_seconds_bucket",
        "lupine_queue_duration_seconds_bucket",
        "lupine_batch_rows_bucket",
        "lupine_shed_total",
        "lupine_inflight_requests",
    } <= names


def test_a_request_is_counted_under_its_labels() -> None:
    """Model, version, protocol and code."""
    telemetry = Telemetry()
    for seconds in (0.02, 0.2):
        telemetry.request(model="m", version="1", protocol="http", code="200", seconds=seconds)
    samples = read(telemetry.exposition().decode())
    labels = {"model": "m", "version": "1", "protocol": "http", "code": "200"}
    assert value(samples, "lupine_request_duration_seconds_count", **labels) == 2
    assert value(samples, "lupine_request_duration_seconds_bucket", **labels, le="0.025") == 1


def test_runs_of_an_engine_add_up_to_its_totals() -> None:
    """Failures apart, and rows of the good ones alone."""
    telemetry = Telemetry()
    telemetry.ran("m", "1", 4, 0.5, ok=True)
    telemetry.ran("m", "1", 2, 0.25, ok=True)
    telemetry.ran("m", "1", 9, 0.125, ok=False)
    telemetry.ran("m", "2", 9, 9.0, ok=True)
    assert telemetry.totals("m", "1") == {
        "rows": 6, "runs": 2, "seconds": 0.75, "failures": 1, "failure_seconds": 0.125,
    }  # fmt: skip
    assert set(telemetry.totals("nobody", "1").values()) == {0.0}


def test_two_gateways_in_one_process_count_apart() -> None:
    """No metric is global."""
    one, other = Telemetry(), Telemetry()
    one.shed("m", "permits")
    assert b'reason="permits"' in one.exposition()
    assert b'reason="permits"' not in other.exposition()


def test_two_workers_add_up(tmp_path: Path) -> None:
    """Whichever of them is asked, counters, histograms and the gauge are those of both."""
    with Worker(tmp_path) as one, Worker(tmp_path) as other:
        for worker in (one, other, other):
            assert worker.do("work") == "done"
        seen = one.show()
        assert seen == other.show()
        labels = {"model": "m", "version": "1"}
        wire = {"protocol": "http", "code": "200"}
        assert value(seen, "lupine_request_duration_seconds_count", **labels, **wire) == 3
        assert value(seen, "lupine_batch_rows_sum", model="m") == 12
        assert value(seen, "lupine_queue_duration_seconds_count", model="m") == 6
        assert value(seen, "lupine_shed_total", model="m", reason="permits") == 3
        assert value(seen, "lupine_inflight_requests") == 6
        assert other.do("rest") == "done"
        assert value(one.show(), "lupine_inflight_requests") == 3
        totals = one.do("totals")
        assert "'rows': 12.0" in totals
        assert "'failures': 3.0" in totals


def test_what_a_dead_worker_counted_stays_and_what_it_held_is_gone(tmp_path: Path) -> None:
    """Counters never go back; requests in flight ended with their worker."""
    with Worker(tmp_path) as one:
        with Worker(tmp_path) as dead:
            dead.do("work")
            assert value(one.show(), "lupine_inflight_requests") == 3
        seen = one.show()
        assert value(seen, "lupine_shed_total", model="m", reason="permits") == 1
        assert not value(seen, "lupine_inflight_requests")


def test_no_metric_names_a_process(tmp_path: Path) -> None:
    """A label for each worker that ever was would grow without end."""
    with Worker(tmp_path) as one:
        one.do("work")
        assert not [labels for _, labels in one.show() if "pid" in dict(labels)]
