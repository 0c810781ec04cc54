"""Images of 4 KB to 4 MB into a model that does next to nothing with them: what carrying one costs.

Direct Triton, the gateway with shared memory to its Triton, and the gateway without take turns
within one run. Direct Triton batches dynamically; behind the gateway the gateway does. Before and
after the load, many callers at a time hold the gateway's answers against their own images.
"""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.progress import Progress

from benchmarks.harness import turns, wrk
from benchmarks.harness.gateway import gateway
from benchmarks.harness.record import Evidence, spread
from benchmarks.harness.triton import triton

SIDES = (18, 37, 52, 74, 148, 224, 296, 591)  # pixels, of three colours in FP32
CONNECTIONS = 16
ROUNDS = 5
SECONDS = 3
_HEADLINE = 224
_PATH = "/v2/models/pool/infer"
_DIRECT, _SHARED, _INLINE = "direct Triton", "Lupine, shared memory", "Lupine, inline"
_CALLERS, _CHECKS = 16, 200


def main() -> int:
    """Measure, print and record."""
    evidence = Evidence("large-tensors", "Triton 24.10, Python backend; not NVIDIA's native one")
    with tempfile.TemporaryDirectory(prefix="lupine-large-") as scratch:
        folder = Path(scratch)
        requests = {side: _request(folder / str(side), side) for side in SIDES}
        behind = ("--repository", str(_repository(folder / "behind", "")), "--workers", "2")
        off = {"LUPINE_TRITON__SHARED_MEMORY": "off"}
        with (
            triton(_repository(folder / "direct", "dynamic_batching { }\n"), "pool") as alone,
            gateway(*behind) as shared,
            gateway(*behind, environment=off) as inline,
        ):
            urls = {
                _DIRECT: alone.url,
                _SHARED: shared.url,
                _INLINE: inline.url,
            }
            for url in (shared.url, inline.url):
                _check(evidence, url)
            loads = _measure(urls, requests)
            _check(evidence, shared.url)
            evidence.raw["metrics"] = _shares(shared.url)
    _report(evidence, loads)
    return evidence.finish()


def _measure(
    urls: dict[str, str], requests: dict[int, Path]
) -> dict[tuple[str, int], list[wrk.Load]]:
    loads: dict[tuple[str, int], list[wrk.Load]] = {}
    with Progress() as progress:
        task = progress.add_task("wrk", total=(1 + ROUNDS) * len(requests) * len(urls))
        for turn in range(1 + ROUNDS):  # the first one warms
            for side, request in requests.items():
                for name, url in urls.items():
                    load = wrk.run(
                        f"{url}{_PATH}",
                        request,
                        connections=CONNECTIONS,
                        seconds=SECONDS if turn else 1,
                    )
                    if turn:
                        loads.setdefault((name, side), []).append(load)
                    progress.advance(task)
    return loads


def _report(evidence: Evidence, loads: dict[tuple[str, int], list[wrk.Load]]) -> None:
    for (name, side), runs in sorted(loads.items(), key=lambda item: item[0][1]):
        base = loads[_DIRECT, side]
        ratios = [run.rate / other.rate for run, other in zip(runs, base, strict=True)]
        evidence.add(
            f"{side} x {side} ({3 * side * side * 4 / 1024:.0f} KB): {name}",
            f"{spread([run.rate for run in runs], 0)} requests/s, "
            f"p99 {spread([run.p99 for run in runs], 1)} ms, rate ÷ direct {spread(ratios, 2)}",
        )
        turns.keep(evidence, f"{name}, {side}", runs)
    for side in SIDES:
        gains = [
            ours.rate / other.rate
            for ours, other in zip(loads[_SHARED, side], loads[_INLINE, side], strict=True)
        ]
        evidence.add(f"{side} x {side}: shared memory ÷ inline", spread(gains, 2))
    ratios = [
        ours.rate / other.rate
        for ours, other in zip(loads[_SHARED, _HEADLINE], loads[_DIRECT, _HEADLINE], strict=True)
    ]
    evidence.add(
        "3 x 224 x 224: rate ÷ direct Triton's",
        spread(ratios, 2),
        "≥ 0.7",
        holds=float(np.median(ratios)) >= 0.7,
    )


def _check(evidence: Evidence, url: str) -> None:
    """Hold answers against images of one's own, of several sizes, many at a time."""

    def ask(seed: int) -> bool:
        side = SIDES[seed % len(SIDES)]
        shape = (1 + seed % 2, 3, side, side)
        image = np.random.default_rng(seed).random(shape, np.float32)
        header = _header(list(shape)).encode()
        answer = client.post(
            f"{url}{_PATH}",
            content=header + image.tobytes(),
            headers={"Inference-Header-Content-Length": str(len(header))},
        )
        if answer.status_code != httpx.codes.OK:
            return False
        split = int(answer.headers["inference-header-content-length"])
        found = np.frombuffer(answer.content[split:], np.float32).reshape(-1, 3)
        return np.allclose(found, image.mean((2, 3)), atol=1e-4)

    with (
        httpx.Client(timeout=60, trust_env=False) as client,
        ThreadPoolExecutor(_CALLERS) as callers,
    ):
        right = sum(callers.map(ask, range(_CHECKS)))
    if right < _CHECKS:
        evidence.fault(f"{_CHECKS - right} of {_CHECKS} answers were wrong")
    evidence.add("answers held against one's own image", f"{right} of {_CHECKS} right")


def _shares(url: str) -> list[str]:
    page = httpx.get(f"{url}/metrics", timeout=20).text
    return [line for line in page.splitlines() if line.startswith("lupine_shared_memory")]


def _header(shape: list[int]) -> str:
    size = {"binary_data_size": 4 * int(np.prod(shape))}
    x = {"name": "x", "shape": shape, "datatype": "FP32", "parameters": size}
    return json.dumps(
        {"inputs": [x], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}
    )


def _request(folder: Path, side: int) -> Path:
    folder.mkdir()
    return wrk.script(folder, "x", [1, 3, side, side], "y")


def _repository(folder: Path, batching: str) -> Path:
    version = folder / "pool" / "1"
    version.mkdir(parents=True)
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.array([2, 3], np.int64), "axes")],
    )
    opset = helper.make_opsetid("", 20)
    onnx.save(
        helper.make_model(graph, opset_imports=[opset], ir_version=10), version / "model.onnx"
    )
    (folder / "pool" / "config.pbtxt").write_text(
        'backend: "onnxruntime"\nmax_batch_size: 16\n'
        'input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, -1, -1 ] } ]\n'
        f'output [ {{ name: "y" data_type: TYPE_FP32 dims: [ 3 ] }} ]\n{batching}'
    )
    return folder
