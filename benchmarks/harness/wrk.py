"""wrk, the closed-loop generator: binary inference requests over so many connections."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk measured; latencies in milliseconds."""

    rate: float
    p50: float
    p99: float
    failed: int


def script(folder: Path, name: str, shape: list[int], output: str) -> Path:
    """Write wrk's script for one FP32 request in binary form, zeros for data."""
    size = 4
    for axis in shape:
        size *= axis
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "shape": shape,
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": size},
                }
            ],
            "outputs": [{"name": output, "parameters": {"binary_data": True}}],
        }
    )
    path = folder / "request.lua"
    path.write_text(
        f"local header = '{header}'\n"
        'wrk.method = "POST"\n'
        f'wrk.body = header .. string.rep("\\0", {size})\n'
        f'wrk.headers["Inference-Header-Content-Length"] = "{len(header)}"\n'
        'wrk.headers["Content-Type"] = "application/octet-stream"\n'
    )
    return path


def run(url: str, request: Path, *, connections: int, seconds: int) -> Load:
    """Load `url` for so many seconds.

    Raises:
        RuntimeError: wrk could not run, and what it said.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "--timeout=20s"]
    done = subprocess.run(
        [*command, "-s", str(request), url], capture_output=True, text=True, check=False
    )
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if rate is None:
        raise RuntimeError(f"wrk: {done.stdout}{done.stderr}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    broken = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout)
    counts = [int(n) for found in (refused, broken) if found for n in found.groups()]
    return Load(
        rate=float(rate[1]),
        p50=_millis(done.stdout, "50"),
        p99=_millis(done.stdout, "99"),
        failed=sum(counts),
    )


def _millis(text: str, percentile: str) -> float:
    found = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE)
    return float(found[1]) * _UNITS[found[2]] if found else float("nan")
