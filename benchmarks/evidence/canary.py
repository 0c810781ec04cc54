"""A canary's share as it is on both wires, and what a shadow's copies cost those who are served."""

from __future__ import annotations

import statistics
import time

import httpx
import numpy as np
import tritonclient.grpc as triton
from scipy.stats import binomtest

from benchmarks.harness import adding, open_loop, scale
from benchmarks.harness.gateway import ROOT
from benchmarks.harness.record import Evidence, spread
from benchmarks.harness.synced import Synced, synced
from benchmarks.harness.versioned import Callers

_MODEL = "plus"
_SHARE = 0.05
_CONFIDENCE = 0.99
_CALLERS = 16
_SECONDS = 30.0
_KEYS = 2_000
_REAL = "digits"
_RATE = 150
_ROUNDS = 12
_ROUND_SECONDS = 12.0
_COSTS_AT_MOST = 1.05
_SLA = f"""
title = "beside a shadow"
duration_seconds = {{seconds}}
warmup_seconds = 2
repetitions = 1
[[target]]
name = "{_REAL}"
model = "{_REAL}"
rate = {_RATE}
limits = {{{{ p99_ms = 1000, error_ratio = 0.0 }}}}
"""


def main() -> int:
    """Serve, call, compare; print and record."""
    evidence = Evidence("canary", "Triton 24.10, Python backend; MLflow 3.17.2; 2 workers")
    scale.tell(evidence)
    with synced(poll_seconds=600.0) as both:
        _publish(both, _MODEL, adding.model(1.0), "champion")
        version = _publish(both, _MODEL, adding.model(2.0), "challenger")
        both.registered.tag(_MODEL, version, "lupine.canary", str(_SHARE))
        both.sync("once")
        _measure_share(evidence, both)
        _measure_stickiness(evidence, both)
        both.registered.tag(_MODEL, version, "lupine.canary", "0")
        _compare(evidence, both, version)
        _measure_cost(evidence, both)
    return evidence.finish()


def _publish(both: Synced, name: str, content: bytes, alias: str) -> str:
    if alias == "champion":
        both.registered.model(name)
    version = both.registered.version(name, {"model.onnx": content})
    both.registered.alias(name, alias, version)
    return version


def _measure_share(evidence: Evidence, both: Synced) -> None:
    """Of requests that name no key."""
    callers = Callers(both.running, _MODEL, _CALLERS)
    with callers.asking():
        time.sleep(scale.seconds(_SECONDS, 5.0))
    for answer in callers.answers:
        if answer.fault:
            evidence.fault(answer.fault)
    _tell_share(
        evidence,
        f"a canary of {_SHARE:.0%}, {_CALLERS} callers on both wires",
        sum(answer.version == "2" for answer in callers.answers),
        len(callers.answers),
    )


def _tell_share(evidence: Evidence, name: str, met: int, asked: int) -> None:
    interval = binomtest(met, asked).proportion_ci(_CONFIDENCE, "wilson")
    evidence.add(
        name,
        f"{met:,} of {asked:,}: {met / asked:.2%} "
        f"({_CONFIDENCE:.0%} interval {interval.low:.2%} to {interval.high:.2%})",
        f"{_SHARE:.0%} in the interval",
        holds=bool(interval.low <= _SHARE <= interval.high),
    )
    evidence.raw[name] = {"met": met, "asked": asked}


def _measure_stickiness(evidence: Evidence, both: Synced) -> None:
    """The same key, by header, metadata and id."""
    x = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0.0]}
    tensor = triton.InferInput("x", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 1), np.float32))
    path = f"/v2/models/{_MODEL}/infer"
    met = astray = 0
    keys = [f"user-{number}" for number in range(scale.times(_KEYS))]
    with (
        httpx.Client(base_url=both.running.url, trust_env=False) as http,
        triton.InferenceServerClient(both.running.grpc_url) as grpc,
    ):
        for key in keys:
            header = {"x-lupine-key": key}
            found = {
                http.post(path, json={"inputs": [x]}, headers=header).json()["model_version"],
                http.post(path, json={"inputs": [x], "id": key}).json()["model_version"],
                grpc.infer(_MODEL, [tensor], headers=header).get_response().model_version,
                grpc.infer(_MODEL, [tensor], request_id=key).get_response().model_version,
            }
            met += "2" in found
            astray += len(found) > 1
    evidence.add(
        "keys that met two versions, asked by header, metadata and id",
        f"{astray} of {len(keys):,}",
        "0",
        holds=astray == 0,
    )
    if astray:
        evidence.fault(f"{astray} keys met two versions")
    _tell_share(evidence, "of those keys, the canary's", met, len(keys))


def _compare(evidence: Evidence, both: Synced, version: str) -> None:
    """A shadow that always differs, and one that differs less than the tolerance."""
    for amount, agrees in ((2.0, False), (1.0005, True)):
        if agrees:
            version = _publish(both, _MODEL, adding.model(amount), "challenger")
        both.registered.tag(_MODEL, version, "lupine.shadow", "1")
        both.sync("once")
        before = _copies(both, _MODEL)
        callers = Callers(both.running, _MODEL, 4)
        with callers.asking():
            time.sleep(scale.seconds(10.0, 5.0))
        wrong = [one for one in callers.answers if one.version != "1" or one.fault]
        for one in wrong:
            evidence.fault(f"a shadow was heard: version {one.version} {one.fault}")
        after = _copies(both, _MODEL)
        found = {key: int(after[key] - before[key]) for key in after}
        right, not_right = ("agreed", "disagreed") if agrees else ("disagreed", "agreed")
        evidence.add(
            f"a shadow that adds {amount:g} where the champion adds 1",
            ", ".join(f"{count:,} {outcome}" for outcome, count in found.items()),
            f"all {right}",
            holds=found[right] > 0 and not found[not_right] and not found["failed"],
        )
        evidence.raw[f"shadow, {amount:g}"] = found


def _copies(both: Synced, model: str) -> dict[str, float]:
    return {
        outcome: both.metric("lupine_shadow_total", model=model, outcome=outcome)
        for outcome in ("agreed", "disagreed", "failed", "skipped")
    }


def _measure_cost(evidence: Evidence, both: Synced) -> None:
    """The same model as champion and shadow, in turns with a shadow and without."""
    content = (ROOT / "triton_repo" / _REAL / "1" / "model.onnx").read_bytes()
    _publish(both, _REAL, content, "champion")
    version = _publish(both, _REAL, content, "challenger")
    both.sync("once")
    p99: dict[str, list[float]] = {"0": [], "1": []}
    sla = _SLA.format(seconds=scale.seconds(_ROUND_SECONDS, 5.0))
    open_loop.run(sla, both.running.url, both.running.grpc_url)  # warms both up
    for turn in range(scale.times(_ROUNDS)):
        for share in ("0", "1") if turn % 2 else ("1", "0"):
            both.registered.tag(_REAL, version, "lupine.shadow", share)
            both.sync("once")
            load = open_loop.run(sla, both.running.url, both.running.grpc_url)
            for fate, count in load.counts().items():
                if fate:
                    evidence.fault(f"{count} requests: {fate}")
            p99[share].append(load.quantile(0.99) * 1000)
    ratios = [with_it / without for with_it, without in zip(p99["1"], p99["0"], strict=True)]
    evidence.add(f"{_REAL} at {_RATE}/s, p99 without a shadow, ms", spread(p99["0"]))
    evidence.add("with one that sees all it can", spread(p99["1"]))
    ratio = statistics.median(ratios)
    evidence.add(
        "p99 with ÷ without, pair by pair",
        spread(ratios, 2),
        f"≤ {_COSTS_AT_MOST}",
        holds=ratio <= _COSTS_AT_MOST,
    )
    found = _copies(both, _REAL)
    evidence.add("copies", ", ".join(f"{count:,.0f} {name}" for name, count in found.items()))
    evidence.raw["p99 ms"], evidence.raw["copies"] = p99, found
