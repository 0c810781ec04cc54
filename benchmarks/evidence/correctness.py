"""Every answer is the right one for its own request, while tritonserver and a worker are killed.

All forms of the protocol on both wires, models of all datatypes, one to eight rows, tensors small
and so large that they go through shared memory, and the committed models by their golden cases.
Every request is accounted for: answered rightly, refused with a reason, or cut off with the worker
that was killed.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.harness import scale
from benchmarks.harness.gateway import ROOT, Running, gateway
from benchmarks.harness.record import Evidence
from benchmarks.mixed.account import Account, End
from benchmarks.mixed.mix import MAX_ROWS, Mix
from benchmarks.wires import golden, models

CALLERS = 48
SHARES = {
    "mlp": 6.0, "counts": 6.0, "labels": 6.0, "pixels": 3.0,
    "digits": 4.0, "parcel_router": 4.0, "magika": 1.0,
}  # fmt: skip
COMMITTED = ("digits", "parcel_router", "magika")
LIVES = 4
"""Of the load: three end with a tritonserver, the last one with a worker."""

_LIFE_SECONDS = 20.0
_EXCUSED_SECONDS = 2.0  # after a worker was killed, until its connections have told everybody
_PAUSE_SECONDS = 0.05  # before whoever got no answer asks again
_BACK_SECONDS = {"tritonserver": 15.0, "worker": 1.0}  # without a right answer, at most
_GONE_SECONDS = 45.0
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX has it
_SLOTS = "lupine-slot-*"


def main() -> int:
    """Ask, kill, print and record."""
    evidence = Evidence("correctness", "Triton 24.10, Python backend; 2 workers")
    scale.tell(evidence)
    before = set(_SHARED_MEMORY.glob(_SLOTS))
    with tempfile.TemporaryDirectory(prefix="lupine-correct-") as scratch:
        folder = models.build(Path(scratch) / "repo", [m for m in SHARES if m not in COMMITTED])
        for name in COMMITTED:
            shutil.copytree(ROOT / "triton_repo" / name, folder / name)
        flags = ("--repository", str(folder), "--workers", "2", "--engine", "triton")
        with gateway(*flags) as running:
            asyncio.run(_measure(evidence, running))
            family = running.family()
    _, alive = psutil.wait_procs(family, timeout=_GONE_SECONDS)
    left = [f"process {p.pid}" for p in alive]
    left += [path.name for path in set(_SHARED_MEMORY.glob(_SLOTS)) - before]
    said = ", ".join(left) or "nothing"
    evidence.add("left behind after the stop", said, "nothing", holds=not left)
    return evidence.finish()


async def _measure(evidence: Evidence, running: Running) -> None:
    cases = {name: golden.cases(ROOT / "models" / "golden" / f"{name}.json") for name in COMMITTED}
    account, killed = Account(), _Killed()
    async with Mix(running, seed=1, shares=SHARES, golden=cases) as mix:
        stop = asyncio.Event()
        callers = [asyncio.create_task(_call(mix, account, killed, stop)) for _ in range(CALLERS)]
        moments = random.Random(1)
        for life in range(LIVES):
            seconds = scale.seconds(_LIFE_SECONDS, 12.0)
            await asyncio.sleep(seconds * moments.uniform(0.4, 0.6))
            killed.now(running, "tritonserver" if life < LIVES - 1 else "worker")
            await asyncio.sleep(seconds * 0.6)
        stop.set()
        await asyncio.gather(*callers)
        end = time.monotonic()
    _judge(evidence, account, mix)
    for i, (name, at) in enumerate(killed.moments):
        until = killed.moments[i + 1][1] if i + 1 < len(killed.moments) else end
        _judge_kill(evidence, account, f"{name} {i + 1}", _BACK_SECONDS[name], (at, until))
    _judge_shared_memory(evidence, running)


class _Killed:
    """Who was killed, and when."""

    def __init__(self) -> None:
        self.moments: list[tuple[str, float]] = []

    def now(self, running: Running, name: str) -> None:
        victim = running.tritonserver() if name == "tritonserver" else running.workers()[0]
        if victim is None:
            raise RuntimeError(f"there is no {name} to kill")
        victim.kill()
        self.moments.append((name, time.monotonic()))

    def excuse(self, asked: float, ended: float) -> bool:
        """Whether a connection may have been cut off then: its worker was killed."""
        return any(
            name == "worker" and asked <= at + _EXCUSED_SECONDS and ended >= at
            for name, at in self.moments
        )


async def _call(mix: Mix, account: Account, killed: _Killed, stop: asyncio.Event) -> None:
    while not stop.is_set():
        asked = time.monotonic()
        request, outcome = await mix.one(asked)
        ended = time.monotonic()
        excused = killed.excuse(asked, ended)
        account.add(asked, ended, request, outcome, excused=excused)
        if outcome.response is None:
            await asyncio.sleep(_PAUSE_SECONDS)


def _judge(evidence: Evidence, account: Account, mix: Mix) -> None:
    ends = account.ends()
    evidence.add(
        f"{CALLERS} callers, {len(mix.forms)} forms, {len(SHARES)} models, 1 to {MAX_ROWS} rows",
        f"{len(account.entries):,} requests",
    )
    for model in SHARES:
        told = {end.value: ends[model, end] for end in End if ends[model, end]}
        evidence.add(model, ", ".join(f"{count:,} {end}" for end, count in told.items()))
        evidence.raw[model] = told
        if not ends[model, End.RIGHT]:
            evidence.fault(f"{model} never answered")
    for name, form in mix.forms.items():
        fates = dict(form.tally.fates)
        evidence.add(name, ", ".join(f"{count:,} {fate}" for fate, count in fates.items()))
        evidence.raw[name] = {"fates": fates, "texts": dict(form.tally.texts)}
    total: Mapping[End, int] = {end: sum(ends[m, end] for m in SHARES) for end in End}
    for what, count in (
        ("wrong: another's id, or other values than the reference's", total[End.WRONG]),
        ("hung", total[End.HUNG]),
        ("answered otherwise", total[End.FAILED]),
        (f"answered twice or unasked, on {mix.streams} streams", len(mix.stray)),
        ("cut off while no worker had been killed", sum("cut off" in f for f in account.faults)),
    ):
        evidence.add(what, count, "0", holds=not count)
    for what in [*account.faults, *mix.stray]:
        evidence.fault(what)


def _judge_kill(
    evidence: Evidence, account: Account, name: str, bound: float, span: tuple[float, float]
) -> None:
    begin, end = span
    gap = account.without_right(begin, end)
    evidence.add(
        f"SIGKILL of {name}: seconds without a right answer",
        f"{gap:.2f}",
        f"≤ {bound:g}",
        holds=gap <= bound,
    )
    back = account.back(list(SHARES), begin)
    within = end - begin
    evidence.add(
        f"SIGKILL of {name}: seconds until every model had answered again",
        f"{back:.2f}",
        f"≤ {within:.0f}",
        holds=back <= within,
    )
    evidence.raw[f"SIGKILL of {name}"] = {"without_right_answer": gap, "all_back": back}


def _judge_shared_memory(evidence: Evidence, running: Running) -> None:
    scraped = httpx.get(f"{running.url}/metrics", timeout=10.0).text
    runs = sum(
        sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
        if sample.name == "lupine_shared_memory_runs_total"
    )
    evidence.add("runs through shared memory", f"{runs:,.0f}", "≥ 1", holds=runs >= 1)
