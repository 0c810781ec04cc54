"""A benchmark that was never run: repetitions, a verdict and a document, made from a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.report import Document, Environment, Host, Model, summarise
from benchmarks.result import Pulse, Repetition, Run, TargetRun
from benchmarks.series import TAGS, Series
from benchmarks.sla import Bursts, Limits, Sla, Target
from benchmarks.verdict import Claim, Doubt, Outcome, TargetVerdict, Verdict

HOSTILE = "<script>alert('&amp;')</script>\x00\x1b[31m https://evil.example/x.js"
SECONDS = 30

_EDGES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, np.inf)


def target_run(name: str, *, seed: int, failing: bool = False, rate: int = 120) -> TargetRun:
    """A target in one repetition: SECONDS with a stall among them, and failures if wanted."""
    rng = np.random.default_rng(seed)
    stall = np.exp(-np.abs(np.arange(SECONDS) - 17) / 1.5)
    service = rng.lognormal(2.2, 0.35, (SECONDS, rate)) * (1 + stall[:, None])
    late = rng.exponential(0.15, (SECONDS, rate))
    wait = rng.exponential(0.05, (SECONDS, rate)) + 160 * stall[:, None] * rng.random(
        (SECONDS, rate)
    )
    lost = rng.random((SECONDS, rate)) < (0.4 * stall[:, None] if failing else 0)
    times = {"latency": service + late + wait, "service": service, "late": late, "wait": wait}
    failures = {"HTTP 503": int(lost.sum()), "wrong answer": 0}
    return TargetRun(
        name=name,
        series={tag: _series(times[tag], lost if tag == "latency" else None) for tag in TAGS},
        failed=lost.sum(axis=1),
        failures={kind: n for kind, n in failures.items() if n},
        examples=[HOSTILE, "503: the engine is gone, retry in 2 s"] if failing else [],
        unsent=3 if failing else 0,
        server={edge: float((service <= edge * 1000).sum()) for edge in _EDGES},
        server_batches=_cumulative(rng.geometric(0.35, 4000), (1, 2, 4, 8, 16, 32, np.inf)),
        server_queue=_cumulative(rng.exponential(0.004, 4000), (0.001, *_EDGES)),
    )


def repetitions(names: Sequence[str], count: int = 3, failing: str = "") -> list[Repetition]:
    """A few repetitions of some targets, one of which fails at times."""
    found = []
    for number in range(1, count + 1):
        targets = {
            name: target_run(name, seed=100 * number + place, failing=name == failing)
            for place, name in enumerate(names)
        }
        rng = np.random.default_rng(number)
        run = Run(
            number=number,
            seed=number,
            began=f"2026-11-25T10:0{number}:00Z",
            seconds=float(SECONDS),
            workers=2,
            complete=True,
            problem="",
            pulses=tuple(
                Pulse(
                    second=second,
                    worker=worker,
                    cpu=float(0.3 + 0.1 * rng.random()),
                    lag_ms=float(rng.exponential(1.5)),
                    gc_ms=float(rng.exponential(0.2)),
                    steal=float(0.02 * rng.random()),
                    idle=float(0.4 + 0.1 * rng.random()),
                )
                for second in range(-2, SECONDS)
                for worker in range(2)
            ),
            connect_ms=tuple(rng.exponential(0.8, 40).tolist()),
            targets={},
        )
        found.append(Repetition(run=run, targets=targets))
    return found


def sla(names: Sequence[str]) -> Sla:
    """Promises about some targets; the last one's requests come in bursts."""
    limits = Limits(p50_ms=20.0, p99_ms=250.0, error_ratio=0.001)
    targets = [Target(name=name, model="digits", limits=limits, rate=120.0) for name in names]
    last = targets[-1]
    targets[-1] = Target(
        name=last.name, model=last.model, limits=limits, rate=120.0, wire="grpc",
        arrivals=Bursts(on_seconds=1.0, every_seconds=5.0),
    )  # fmt: skip
    return Sla(target=tuple(targets), title="Digits and parcels at noon", seed=7)


def claim(name: str, outcome: Outcome, **changed: object) -> Claim:
    """A promise, and what was found of it."""
    usual = {"unit": "ms", "limit": 250.0, "measured": 138.0, "low": 126.0, "high": 151.0}
    reasons = {
        Outcome.PASS: "even the upper bound keeps the limit",
        Outcome.FAIL: "even the lower bound breaks the limit",
        Outcome.INCONCLUSIVE: "the limit lies within the interval",
    }
    fields = {**usual, "reason": f"{name}: {reasons[outcome]}.", **changed}
    return Claim(name=name, outcome=outcome, **fields)  # type: ignore[arg-type]


def passing(name: str) -> TargetVerdict:
    """A target that keeps all its promises."""
    return TargetVerdict(
        name=name,
        outcome=Outcome.PASS,
        claims=(
            claim("p50", Outcome.PASS, limit=20.0, measured=11.7, low=11.4, high=12.0),
            claim("p99", Outcome.PASS),
            claim("errors", Outcome.PASS, unit="%", limit=0.1, measured=0.0, low=None, high=0.034),
        ),
        asked=10_800,
        failed=0,
        effective=6412.5,
    )


def failing(name: str) -> TargetVerdict:
    """A target that breaks a promise, and of which nothing can be said of others."""
    return TargetVerdict(
        name=name,
        outcome=Outcome.FAIL,
        claims=(
            claim("p99", Outcome.FAIL, limit=100.0, measured=None, low=187.0, high=None),
            claim("p99.9", Outcome.INCONCLUSIVE, limit=500.0, measured=220.0, low=161.0, high=None,
                  needed=48_000),
            claim("errors", Outcome.FAIL, unit="%", limit=0.1, measured=4.56, low=2.1, high=7.9),
            claim("goodput", Outcome.FAIL, unit="%", limit=99.0, measured=91.2, low=88.3,
                  high=94.5),
        ),
        asked=10_800,
        failed=512,
        effective=812.3,
    )  # fmt: skip


def document(
    promises: Sla,
    found: Sequence[Repetition],
    targets: Sequence[TargetVerdict],
    doubts: Sequence[Doubt] = (),
) -> Document:
    """A report over some verdicts."""
    outcomes = {target.outcome for target in targets}
    outcome = Outcome.FAIL if Outcome.FAIL in outcomes else Outcome.PASS
    if doubts and outcome is Outcome.PASS:
        outcome = Outcome.INCONCLUSIVE
    summaries = {
        Outcome.PASS: "All promises are kept, each with its whole confidence interval.",
        Outcome.FAIL: "Some promises are broken beyond doubt.",
        Outcome.INCONCLUSIVE: "The promises look kept, but the measurement is not to be trusted.",
    }
    return Document(
        tool="0.1.0",
        sla=promises,
        verdict=Verdict(
            outcome=outcome,
            summary=summaries[outcome],
            confidence=promises.confidence,
            targets=tuple(targets),
            doubts=tuple(doubts),
        ),
        environment=environment(),
        targets=summarise(promises, found),
        raw={
            f"run-{n}/{name}.hlog": f"{n}a" * 32 for n in (1, 2, 3) for name in ("digits", "slow")
        },
    )


def environment() -> Environment:
    """What nothing was tested on."""
    return Environment(
        host=Host(cpu="A CPU @ 2.1 GHz", cores=2, memory_gib=7.8, kernel="6.1.0", python="3.11.2"),
        packages={"locust": "2.43.1", "grpcio": "1.80.0", "numpy": "2.4.6"},
        models=(
            Model(name="digits", version="1", sha256="5e" * 32, config={"max_batch_size": 64}),
            Model(name="parcel_router", version="3"),
        ),
        engine="triton",
        backend="Triton 2.61 with its onnxruntime backend, CPU",
        url="http://127.0.0.1:3000",
        grpc_url="127.0.0.1:3001",
        began="2026-11-25T10:00:00+00:00",
        command=("lupine", "bench", "--sla", "benchmarks/sla.toml", "--out", "reports/one"),
        gateway={"name": "lupine", "version": "0.1.0", "workers": 2},
    )


def _series(table: np.ndarray, without: np.ndarray | None) -> Series:
    """Times in milliseconds, shape (S, N), as a histogram of three digits holds them."""
    digits = 10.0 ** (np.floor(np.log10(np.maximum(table * 1000, 1))) - 2)
    micros = np.ceil(table * 1000 / digits) * digits
    micros = np.maximum(micros, 1).astype(np.int64)
    values = np.unique(micros)
    counts = np.zeros((len(table), len(values)), np.int64)
    for second, row in enumerate(micros):
        kept = row if without is None else row[~without[second]]
        np.add.at(counts[second], np.searchsorted(values, kept), 1)
    return Series(values=values, counts=counts)


def _cumulative(times: np.ndarray, edges: Sequence[float]) -> dict[float, float]:
    return {float(edge): float((times <= edge).sum()) for edge in edges}
