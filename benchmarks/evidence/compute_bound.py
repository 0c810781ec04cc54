"""A model that costs far more than carrying its requests: what the gateway leaves of its speed.

`magika`, about 10 ms of a core for a file, 16 requests in flight, as binary tensors over HTTP.
Direct Triton and the gateway take turns; neither gains by batching.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import httpx
import numpy as np
from rich.progress import Progress

from benchmarks.harness import scale, turns, wrk
from benchmarks.harness.gateway import ROOT, gateway
from benchmarks.harness.record import Evidence, spread
from benchmarks.harness.triton import triton
from benchmarks.harness.wrk import Load
from benchmarks.wires import oip_http
from benchmarks.wires.exchange import Request, fault

ROUNDS = 5
SECONDS = 6
IN_FLIGHT = 16
_DIRECT, _OURS = "direct Triton", "Lupine"
_PATH = "/v2/models/magika/infer"
_GOLDEN = ROOT / "models" / "golden" / "magika.json"
_TARGET = 0.97


def main() -> int:
    """Measure, print and record."""
    evidence = Evidence("compute-bound", "Triton 24.10, Python backend; not NVIDIA's native one")
    scale.tell(evidence)
    loads: dict[str, list[Load]] = {_DIRECT: [], _OURS: []}
    rounds = scale.times(ROUNDS)
    repository = ROOT / "triton_repo"
    with (
        tempfile.TemporaryDirectory(prefix="lupine-compute-") as scratch,
        triton(repository, "magika") as alone,
        gateway("--repository", str(repository)) as running,
        Progress() as progress,
    ):
        request = wrk.script(Path(scratch), "bytes", [1, 2048], "target_label", datatype="INT32")
        urls = {_DIRECT: alone.url + _PATH, _OURS: running.url + _PATH}
        for name, url in urls.items():
            _check(evidence, name, url)
        task = progress.add_task("wrk", total=(1 + rounds) * len(urls))
        for turn in range(1 + rounds):  # the first one warms
            for name, url in urls.items():
                seconds = SECONDS if turn else 2
                load = wrk.run(url, request, connections=IN_FLIGHT, seconds=seconds)
                if turn:
                    loads[name].append(load)
                progress.advance(task)
    _report(evidence, loads)
    return evidence.finish()


def _check(evidence: Evidence, name: str, url: str) -> None:
    """Hold an answer against what the model's authors' own code says of the same file."""
    case = json.loads(_GOLDEN.read_text())["cases"][0]
    (given,), (expected,) = case["inputs"], case["outputs"]
    bytes_in = np.array(given["data"], np.int32).reshape(given["shape"])
    right = np.array(expected["data"], np.float32).reshape(expected["shape"])
    request = Request("golden", "magika", {given["name"]: bytes_in}, {expected["name"]: right})
    content, length = oip_http.body(request, binary=True)
    headers = {oip_http.LENGTH: str(length), "content-type": "application/octet-stream"}
    answer = httpx.post(url, content=content, headers=headers, timeout=30)
    answer.raise_for_status()
    if what := fault(request, oip_http.decode(answer.headers, answer.content)):
        evidence.fault(f"{name}: {what}")


def _report(evidence: Evidence, loads: dict[str, list[Load]]) -> None:
    for name, runs in loads.items():
        evidence.add(
            name,
            f"{spread([run.rate for run in runs])} requests/s, "
            f"p50 {spread([run.p50 for run in runs], 0)} ms, "
            f"p99 {spread([run.p99 for run in runs], 0)} ms",
        )
        turns.keep(evidence, name, runs)
    pairs = zip(loads[_OURS], loads[_DIRECT], strict=True)
    ratios = [ours.rate / base.rate for ours, base in pairs]
    evidence.add(
        "requests/s ÷ direct",
        spread(ratios, 2),
        f"≥ {_TARGET}",
        holds=float(np.median(ratios)) >= _TARGET,
    )
