"""Reading Prometheus' text format, and processes that count beside the test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

WORKER = """
import json, sys
from pathlib import Path
from service.protocol.messages import Policy, Snapshot
from service.telemetry import Telemetry, workers
from tests.unit.doubles import servable, snapshot

folder = Path(sys.argv[1])
workers.join(folder)
telemetry = Telemetry()

def work():
    request("m", 0.02)
    telemetry.batch_released(servable(), [0.001, 0.002], "full")
    telemetry.run_sent(servable(), 4)
    telemetry.shed("m", "permits")
    telemetry.inflight(3)
    telemetry.ran("m", "1", 4, 0.5, ok=True)
    telemetry.ran("m", "1", 4, 0.25, ok=False)

def request(model, seconds):
    telemetry.request(model=model, version="1", protocol="http", code="200", seconds=seconds)

def serve(**slos):
    policies = {name: Policy(slo_p99=slo) for name, slo in slos.items()}
    telemetry.serving(snapshot(*(servable(n, policy=p) for n, p in policies.items())))

def inflight(requests):
    telemetry.inflight(requests)

def totals():
    return telemetry.totals("m", "1")

def show():
    return telemetry.exposition().decode()

for line in sys.stdin:
    verb, positional, named = json.loads(line)
    print(json.dumps(globals()[verb](*positional, **named)), flush=True)
"""


def read(text: str) -> Samples:
    """Each sample's value, by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """One sample's value; None where there is none."""
    return samples.get((name, tuple(sorted(labels.items()))))


def buckets(samples: Samples, name: str, **labels: str) -> dict[float, float]:
    """A histogram's counts by `le`, ascending; checks that they ascend too."""
    found = {}
    for (sample, named), count in samples.items():
        rest = dict(named)
        le = rest.pop("le", "")
        if sample == f"{name}_bucket" and rest == labels:
            found[float(le)] = count
    found = dict(sorted(found.items()))
    assert list(found.values()) == sorted(found.values())
    return found


class Worker:
    """A process with metrics of its own, in a folder that it shares."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, verb: str, *positional: object, **named: object) -> object:
        """Have it do something, and hear what it says."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([verb, positional, named]) + "\n")
        self.process.stdin.flush()
        found: object = json.loads(self.process.stdout.readline())
        return found

    def show(self) -> Samples:
        """What a scrape of this worker finds."""
        return read(str(self.do("show")))

    def kill(self) -> None:
        """End it as the kernel would."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.communicate(timeout=10)
            assert self.process.returncode == 0
