"""How Locust's processes begin together; in a process apart, as Locust patches its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness.gateway import ROOT
from benchmarks.load.variables import SLA_VARIABLE

# A master that has heard of one generator process and, later, of the other.
SCRIPT = """
from benchmarks.load.users import session, _users
from types import SimpleNamespace as Of
import gevent, json

def worker(name, users):
    return Of(id=name, user_count=users, user_classes_count={"Target0": users})

found = session()
every = _users(found.sla)
sent = []
clients = Of(running=[worker("first", every - 1)])
runner = Of(clients=clients, send_message=lambda kind, data, to: sent.append((to, data["parts"])))
found.environment = Of(runner=runner)
found.collector = Of(running=False, seed=1, elapsed=0.0, scrape=lambda: None)
found.collector.begin = lambda workers: setattr(found.collector, "running", bool(workers))
found.on_spawning_complete()
gevent.sleep(0.1)
before = list(sent)
clients.running = [*clients.running, worker("second", 1)]
gevent.sleep(0.1)
found.on_spawning_complete()
gevent.sleep(0.1)
print(json.dumps({"before": before, "after": sent, "users": every}))
"""
SLA = """
title = "a trial"
warmup_seconds = 60
duration_seconds = 60
repetitions = 1
timeout_seconds = 1
[[target]]
name = "one"
model = "digits"
wire = "http-json"
rate = 100
connections = 4
limits = { p99_ms = 50 }
"""


def test_nobody_begins_before_all_users_are_heard_of(tmp_path: Path) -> None:
    """A process that reports late takes its part all the same; and none begins twice."""
    sla = tmp_path / "sla.toml"
    sla.write_text(SLA)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {SLA_VARIABLE: str(sla), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["users"] == 4
    assert told["before"] == []
    assert told["after"] == [["first", [[0, 2]]], ["second", [[1, 2]]]]
