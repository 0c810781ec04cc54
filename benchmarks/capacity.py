"""How much a gateway takes: every step of the search is a run, measured and judged as any other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from rich.console import Console

from benchmarks import knee, result, sla_file, verdict, workloads
from benchmarks import run as runs
from benchmarks import sla as slas
from benchmarks.knee import Asked, Step
from benchmarks.report import capacity as page
from benchmarks.report.summary import summarise
from benchmarks.run import BenchError, Options
from benchmarks.sla import Limits, Sla, Target
from benchmarks.subject import look
from benchmarks.verdict import Claim, Outcome

FOUND, GENERATOR = 0, 2
_WARMUP_SECONDS = 2.0
_CONNECTIONS_SECONDS = 0.25  # as many connections as requests come in so long
_GOOD = 0.99


def run(options: Options, asked: Asked, console: Console) -> int:
    """Find the knee, print it, and write `capacity.json` and `capacity.html`.

    Returns:
        FOUND, or GENERATOR where the generator gave up first.

    Raises:
        SlaError: the SLA, or a file that it names, cannot be used.
        BenchError: there is no such target, it has no limit of p99, or nobody answers.
    """
    sla = sla_file.load(options.sla)
    target = _chosen(sla, asked.target)
    limit = target.limits.p99_ms
    if limit is None:
        raise BenchError(f"target {target.name!r} has no limit p99_ms: nothing says when it breaks")
    workloads.check(sla, options.sla)
    runs.claim(options.out)
    subject = look(sla, options.url, options.grpc_url, options.backend)
    if subject.problem:
        raise BenchError(subject.problem)
    console.print(f"[bold]{target.name}[/bold]: {subject.line()}", highlight=False)

    def hold(rate: float) -> Step:
        step = _hold(options, console, sla, target, rate=rate, seconds=asked.step_seconds)
        console.print(f"  {_line(step)}", highlight=False)
        return step

    steps = knee.search(hold, slas.offered(target) or 10.0)
    most = max((int(m.config.get("max_batch_size", 0)) for m in subject.models), default=0)
    found = knee.conclude(target.name, limit, steps, asked, most)
    (options.out / "capacity.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"
    )
    page.write(options.out, found, subject.environment())
    console.print(f"[bold]{found.answer}[/bold]", highlight=False)
    for advice in found.advice:
        console.print(f"- {advice}", highlight=False)
    return FOUND if found.breaks_at is not None else GENERATOR


def _chosen(sla: Sla, name: str) -> Target:
    if not name:
        return sla.target[0]
    for target in sla.target:
        if target.name == name:
            return target
    known = ", ".join(repr(target.name) for target in sla.target)
    raise BenchError(f"--target {name!r} is none of the SLA's: {known}")


def at(sla: Sla, target: Target, path: Path, rate: float, seconds: float) -> Sla:
    """The SLA of one step: this target alone, at a rate, and what decides if it is sustained."""
    payloads = str(slas.payload_path(target, path).resolve())
    connections = max(8, min(2000, math.ceil(rate * _CONNECTIONS_SECONDS)))
    one = msgspec.structs.replace(
        slas.with_rate(target, rate),
        connections=connections,
        payloads=payloads,
        limits=Limits(p99_ms=target.limits.p99_ms, goodput_ratio=_GOOD, error_ratio=0.01),
    )
    return msgspec.structs.replace(
        sla,
        target=(one,),
        title=f"{target.name} at {rate:.1f} requests/s",
        duration_seconds=seconds,
        warmup_seconds=_WARMUP_SECONDS,
        repetitions=1,
    )


def _hold(
    options: Options, console: Console, sla: Sla, target: Target, *, rate: float, seconds: float
) -> Step:
    step = at(sla, target, options.sla, rate, seconds)
    folder = options.out / f"rate-{rate:.1f}"
    folder.mkdir(parents=True)
    file = folder / "sla.json"
    file.touch(0o600)
    file.write_bytes(msgspec.json.encode(step))
    asked = replace(options, sla=file, out=folder)
    try:
        if not runs.repeat(asked, step, 1, console):
            raise KeyboardInterrupt
    finally:
        file.unlink()  # its headers may hold credentials
    repetitions = result.read(folder)
    return of(step, repetitions, verdict.judge(step, repetitions), rate)


def of(
    sla: Sla, repetitions: Sequence[result.Repetition], found: verdict.Verdict, rate: float
) -> Step:
    """What a step's run says.

    Few samples leave a verdict open; the estimates decide then.
    """
    (summary,) = summarise(sla, repetitions)
    (repetition,) = repetitions
    (told,) = repetition.targets.values()
    claims = found.targets[0].claims
    pulses = [pulse for pulse in repetition.run.pulses if pulse.second >= 0]
    doubt = "; ".join(one.what for one in found.doubts)
    return Step(
        rate=rate,
        answered=summary.achieved_rate,
        p50_ms=summary.latency.p50_ms,
        p99_ms=summary.latency.p99_ms,
        failed=sum(summary.failed.values()),
        sustained=not doubt and all(_kept(claim) for claim in claims),
        doubt=doubt,
        batch_rows=knee.mean(told.server_batches),
        idle=sum(p.idle for p in pulses) / len(pulses) if pulses else 0.0,
    )


def _kept(claim: Claim) -> bool:
    if claim.outcome is Outcome.FAIL or claim.measured is None:
        return False
    if claim.name == "goodput":
        return claim.measured >= claim.limit
    return claim.measured <= claim.limit


def _line(step: Step) -> str:
    p99 = "∞" if step.p99_ms is None else f"{step.p99_ms:.1f} ms"
    what = "sustained" if step.sustained else step.doubt or "not sustained"
    return f"{step.rate:8.1f} requests/s: p99 {p99}, {step.failed} failed, {what}"
