"""wrk, the closed-loop generator: binary inference requests over so many connections."""

from __future__ import annotations

import json
import math
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk measured; latencies in milliseconds.

    Args:
        rate: answers a second, of any status.
        p50: of the latency.
        p99: of the latency.
        failed: requests that were refused, cut off or not answered in time.
        answered: requests with an answer, of any status.
        refused: those among them whose status was an error.
    """

    rate: float
    p50: float
    p99: float
    failed: int
    answered: int
    refused: int

    @property
    def good_rate(self) -> float:
        """Answers a second whose status was no error."""
        return self.rate * (1 - self.refused / self.answered) if self.answered else 0.0


def script(
    folder: Path, name: str, shape: list[int], output: str, *, datatype: str = "FP32"
) -> Path:
    """Write wrk's script for one request in binary form, zeros for data of four bytes each."""
    header, size = message(name, shape, output, datatype=datatype)
    path = folder / "request.lua"
    path.write_text(
        f"local header = '{header}'\n"
        'wrk.method = "POST"\n'
        f'wrk.body = header .. string.rep("\\0", {size})\n'
        f'wrk.headers["Inference-Header-Content-Length"] = "{len(header)}"\n'
        'wrk.headers["Content-Type"] = "application/octet-stream"\n'
    )
    return path


def message(name: str, shape: list[int], output: str, *, datatype: str = "FP32") -> tuple[str, int]:
    """The JSON of a request in binary form, and the bytes of its data, four for each value."""
    size = 4 * math.prod(shape)
    binary = {"binary_data_size": size}
    tensor = {"name": name, "shape": shape, "datatype": datatype, "parameters": binary}
    wanted = {"name": output, "parameters": {"binary_data": True}}
    return json.dumps({"inputs": [tensor], "outputs": [wanted]}), size


def run(url: str, request: Path, *, connections: int, seconds: int) -> Load:
    """Load `url` for so many seconds.

    Raises:
        RuntimeError: wrk could not run, and what it said.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "--timeout=20s"]
    done = subprocess.run(
        [*command, "-s", str(request), url], capture_output=True, text=True, check=False
    )
    try:
        return parse(done.stdout)
    except ValueError:
        raise RuntimeError(f"wrk: {done.stdout}{done.stderr}") from None


def parse(text: str) -> Load:
    """What wrk printed at the end of a run with `--latency`.

    Raises:
        ValueError: it did not come to its end.
    """
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    answered = re.search(r"(\d+) requests in", text)
    if rate is None or answered is None:
        raise ValueError("no rate in what wrk printed")
    found = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    refused = int(found[1]) if found else 0
    broken = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    return Load(
        rate=float(rate[1]),
        p50=_millis(text, "50"),
        p99=_millis(text, "99"),
        failed=refused + sum(map(int, broken.groups() if broken else ())),
        answered=int(answered[1]),
        refused=refused,
    )


def _millis(text: str, percentile: str) -> float:
    found = re.search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s) *$", text, re.MULTILINE)
    return float(found[1]) * _UNITS[found[2]] if found else float("nan")
