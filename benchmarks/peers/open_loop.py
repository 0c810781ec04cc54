"""Our own open-loop generator, one repetition of it: Poisson arrivals, every answer judged."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from benchmarks import report, result, run, sla_file
from benchmarks.peers.request import MODEL, golden
from benchmarks.report.document import Summary

_WARM_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0
_CONNECTIONS = 64


def ask(url: str, *, rate: int, seconds: float, seed: int, folder: Path) -> Summary:
    """Send so many requests a second over JSON, for so long.

    Args:
        url: of a server of the Open Inference Protocol.
        rate: requests a second.
        seconds: of measured time, after one to warm up.
        seed: of the arrivals.
        folder: an empty one.

    Raises:
        benchmarks.run.BenchError: Locust does not run.
    """
    target = {
        "name": MODEL,
        "model": MODEL,
        "wire": "http-json",
        "rate": rate,
        "connections": _CONNECTIONS,
        "payloads": "golden.json",
        "limits": {"p99_ms": 100},
    }
    document = {
        "title": "peers",
        "seed": seed,
        "duration_seconds": seconds,
        "warmup_seconds": _WARM_SECONDS,
        "timeout_seconds": _TIMEOUT_SECONDS,
        "repetitions": 1,
        "target": [target],
    }
    path, out = folder / "sla.json", folder / "out"
    path.write_text(json.dumps(document))
    (folder / "golden.json").write_text(json.dumps(golden()))
    out.mkdir()
    sla = sla_file.load(path)
    options = run.Options(sla=path, url=url, grpc_url="127.0.0.1:1", out=out)
    run.repeat(options, sla, 1, Console(quiet=True))
    (summary,) = report.summarise(sla, result.read(out))
    return summary
