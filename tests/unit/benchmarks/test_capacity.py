from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from benchmarks import capacity, knee
from benchmarks.harness.gateway import free_port
from benchmarks.knee import Asked, Step
from benchmarks.result import Pulse, Repetition, Run, TargetRun
from benchmarks.run import Options
from benchmarks.series import TAGS, Series
from benchmarks.sla import Limits, Poisson, Sla, SlaError, Target, Trace, connections, with_rate
from benchmarks.verdict import Claim, Doubt, Outcome, TargetVerdict, Verdict

ASKED = Asked(target="", users=2000, think_seconds=10, step_seconds=5)


def step(rate: float, *, good: bool = True, **changes: Any) -> Step:
    plain = Step(
        rate=rate,
        answered=rate,
        p50_ms=3.0,
        p99_ms=9.0 if good else 99.0,
        failed=0,
        sustained=good,
        doubt="",
        batch_rows=0.0,
        idle=0.1,
    )
    return msgspec.structs.replace(plain, **changes)


def gateway(takes: float, generator: float = np.inf) -> Callable[[float], Step]:
    """What holds a load: a gateway with a capacity, and a generator with another."""

    def hold(rate: float) -> Step:
        doubt = "the generator was late" if rate > generator else ""
        return step(rate, good=rate <= takes and not doubt, doubt=doubt)

    return hold


@pytest.mark.parametrize("takes", [1.5, 7.0, 100.0, 101.0, 3456.7])
def test_the_knee_is_closed_in_from_wherever_the_search_begins(takes: float) -> None:
    """To an eighth, in a few steps, and in the order of the rate."""
    steps = knee.search(gateway(takes), 100.0)
    rates = [one.rate for one in steps]
    assert rates == sorted(set(rates))
    assert len(steps) <= 16
    good = max(one.rate for one in steps if one.sustained)
    bad = min(one.rate for one in steps if not one.sustained)
    assert good <= takes < bad <= 1.13 * good


def test_a_search_ends_where_nothing_is_sustained() -> None:
    """It does not go below one request a second."""
    steps = knee.search(gateway(0), 100.0)
    assert 1 <= steps[0].rate < 2
    assert not any(one.sustained for one in steps)
    found = knee.conclude("a", 50, steps, ASKED)
    assert (found.sustained, found.replicas) == (0, None)
    assert "not even 1 requests/s keep p99 ≤ 50 ms" in found.answer


def test_the_generators_own_knee_ends_the_search() -> None:
    """What is found is a lower bound then, and it says so."""
    steps = knee.search(gateway(1000, generator=300), 100.0)
    found = knee.conclude("a", 50, steps, ASKED)
    assert found.sustained == max(one.rate for one in steps if one.rate <= 300)
    assert found.breaks_at is None
    assert "sustains at least" in found.answer
    assert found.advice[0] == (
        "The generator gave up before the gateway did: the generator was late."
    )


def test_a_generator_that_can_do_nothing_says_nothing_of_the_gateway() -> None:
    """Neither good nor bad."""
    found = knee.conclude("a", 50, knee.search(gateway(1000, generator=0), 100.0), ASKED)
    assert found.replicas is None
    assert found.breaks_at is None
    assert "before anything could be said of the gateway" in found.answer
    assert len(found.advice) == 1


def test_failed_requests_are_the_gateways_whatever_the_generator_did() -> None:
    """A drowning gateway drowns its generator too."""

    def hold(rate: float) -> Step:
        broken = rate > 500
        return step(rate, good=not broken, failed=9 if broken else 0, doubt="late" * broken)

    found = knee.conclude("a", 50, knee.search(hold, 100.0), ASKED)
    assert found.breaks_at is not None
    assert found.sustained <= 500 < found.breaks_at


@pytest.mark.parametrize(
    ("sustained", "users", "replicas", "words"),
    [
        (286, 2000, 1, "1 replica at 70%"),  # 200.2 requests/s with headroom
        (285, 2000, 2, "2 replicas at 70%"),
        (10, 100_000, 1429, "100,000 users"),
    ],
)
def test_replicas_leave_headroom(sustained: float, users: int, replicas: int, words: str) -> None:
    """Of thirty in a hundred."""
    asked = Asked(target="", users=users, think_seconds=10, step_seconds=5)
    steps = [step(sustained), step(2 * sustained, good=False)]
    found = knee.conclude("a", 50, steps, asked)
    assert found.replicas == replicas
    assert words in found.answer
    assert found.breaks_at == 2 * sustained


@pytest.mark.parametrize(
    ("changes", "most", "told"),
    [
        ({"batch_rows": 7.5}, 8, "Batches are full"),
        ({"batch_rows": 1.2}, 8, "Batches hold 1.2 rows"),
        ({"batch_rows": 4.0}, 8, None),
        ({"batch_rows": 1.2}, 0, None),
        ({"batch_rows": 0.0}, 8, None),
    ],
)
def test_advice_follows_from_what_was_seen_at_the_knee(
    changes: dict[str, float], most: int, told: str | None
) -> None:
    """Of batches only where there are some to speak of."""
    steps = [step(10, batch_rows=8.0), step(20, good=False, **changes), step(40, good=False)]
    found = knee.conclude("a", 50, steps, ASKED, most).advice
    assert [one for one in found if one.startswith("Batches")] == [
        one for one in found if told and one.startswith(told)
    ]
    assert any(one.startswith("Batches") for one in found) == (told is not None)


def test_an_idle_host_and_a_busy_one_get_other_advice() -> None:
    """More instances, or more hosts."""
    for idle, told in (
        (0.6, "60% of the host is idle"),
        (0.1, "The host is busy at the knee (90%"),
    ):
        (found,) = knee.conclude("a", 50, [step(9), step(10, good=False, idle=idle)], ASKED).advice
        assert found.startswith(told)


@pytest.mark.parametrize(
    ("histogram", "found"),
    [
        ({}, 0.0),
        ({1.0: 0.0, np.inf: 0.0}, 0.0),
        ({1.0: 10.0, np.inf: 10.0}, 1.0),
        ({1.0: 5.0, 2.0: 10.0, np.inf: 10.0}, 1.5),
        ({1.0: 0.0, 2.0: 0.0, 4.0: 0.0, 8.0: 3.0, np.inf: 3.0}, 6.0),
    ],
)
def test_the_mean_of_a_histogram_lies_in_its_buckets(
    histogram: dict[float, float], found: float
) -> None:
    """Buckets of one value are exact."""
    assert knee.mean(histogram) == found


TARGET = Target(
    name="a", model="digits", rate=40, limits=Limits(p50_ms=5, p99_ms=50, error_ratio=0.0)
)
SLA = Sla(target=(TARGET, with_rate(TARGET, 9)), repetitions=3, duration_seconds=60)


def test_a_step_is_one_target_at_one_rate(tmp_path: Path) -> None:
    """With connections enough, and golden cases that are found from anywhere."""
    found = capacity.at(SLA, TARGET, tmp_path / "sla.toml", 1000.0, 7.0)
    (target,) = found.target
    assert (target.rate, target.users, target.arrivals) == (1000.0, None, Poisson())
    assert connections(target) == 250
    assert target.limits.p99_ms == 50
    assert target.limits.p50_ms is None
    assert Path(target.payloads or "").is_absolute()
    assert (found.duration_seconds, found.repetitions) == (7.0, 1)


@pytest.mark.parametrize(
    ("wrong", "changes"),
    [("cases.json", {"payloads": "cases.json"}), ("t.txt", {"arrivals": Trace("t.txt")})],
)
def test_files_that_cannot_be_used_are_told_before_anything_is_asked_or_written(
    wrong: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    """As `lupine bench` itself does, and not by a Locust that ends without a result."""
    broken = msgspec.structs.replace(TARGET, name="b", rate=None if "arrivals" in changes else 9)
    sla = Sla(target=(TARGET, msgspec.structs.replace(broken, **changes)))
    (tmp_path / "sla.json").write_bytes(msgspec.json.encode(sla))
    (tmp_path / wrong).write_text("nothing that is wanted")
    nobody = f"127.0.0.1:{free_port()}"
    options = Options(
        sla=tmp_path / "sla.json",
        url=f"http://{nobody}",
        grpc_url=nobody,
        out=tmp_path / "report",
    )
    with pytest.raises(SlaError, match=wrong):
        capacity.run(options, ASKED, Console(quiet=True))
    assert not options.out.exists()


def claim(name: str, limit: float, measured: float | None, outcome: Outcome) -> Claim:
    return Claim(
        name=name,
        unit="ms",
        limit=limit,
        measured=measured,
        low=None,
        high=None,
        outcome=outcome,
        reason="",
    )


def judged(*claims: Claim, doubts: Sequence[Doubt] = ()) -> Verdict:
    return Verdict(
        outcome=Outcome.INCONCLUSIVE,
        summary="",
        confidence=0.95,
        targets=(
            TargetVerdict(
                name="a",
                outcome=Outcome.INCONCLUSIVE,
                claims=claims,
                asked=40,
                failed=0,
                effective=40.0,
            ),
        ),
        doubts=tuple(doubts),
    )


def measured() -> Repetition:
    """Four seconds of ten requests of 8 ms, and 3 of each second that failed."""
    run = Run(
        number=1,
        seed=1,
        began="",
        seconds=4.0,
        workers=1,
        complete=True,
        problem="",
        pulses=tuple(Pulse(second, 0, 0.1, 0, 0, 0, idle) for second, idle in SEEN),
        connect_ms=(),
        targets={},
    )
    series = Series(values=np.array([8000]), counts=np.full((4, 1), 10))
    target = TargetRun(
        name="a",
        series=dict.fromkeys(TAGS, series),
        failed=np.full(4, 3),
        failures={"timeout": 12},
        examples=[],
        unsent=0,
        server={},
        server_batches={1.0: 1.0, 2.0: 2.0, np.inf: 2.0},
        server_queue={},
    )
    return Repetition(run=run, targets={"a": target})


SEEN = ((-1, 0.0), (0, 0.5), (1, 0.7))


def test_a_step_tells_what_its_run_measured() -> None:
    """The warm-up's pulses are not in it."""
    one = capacity.at(SLA, TARGET, Path("sla.toml"), 13.0, 4.0)
    found = capacity.of(one, [measured()], judged(), 13.0)
    assert (found.rate, found.answered, found.failed) == (13.0, 10.0, 12)
    assert found.p50_ms == pytest.approx(8)
    assert found.p99_ms is None  # more failed than it leaves over
    assert found.batch_rows == 1.5
    assert found.idle == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("claims", "doubts", "sustained"),
    [
        ([claim("p99", 50, 40, Outcome.INCONCLUSIVE)], [], True),
        ([claim("p99", 50, 60, Outcome.INCONCLUSIVE)], [], False),
        ([claim("p99", 50, None, Outcome.INCONCLUSIVE)], [], False),
        ([claim("p99", 50, 40, Outcome.FAIL)], [], False),
        ([claim("goodput", 99, 99.5, Outcome.PASS)], [], True),
        ([claim("goodput", 99, 98.5, Outcome.INCONCLUSIVE)], [], False),
        ([claim("p99", 50, 40, Outcome.PASS)], [Doubt(what="late", advice="")], False),
        (
            [claim("p99", 50, 40, Outcome.PASS), claim("errors", 1, 2, Outcome.INCONCLUSIVE)],
            [],
            False,
        ),
    ],
)
def test_estimates_decide_where_samples_are_few(
    claims: list[Claim], doubts: list[Doubt], *, sustained: bool
) -> None:
    """A step is short, so its verdict is often open; a doubt always speaks against it."""
    one = capacity.at(SLA, TARGET, Path("sla.toml"), 13.0, 4.0)
    found = capacity.of(one, [measured()], judged(*claims, doubts=doubts), 13.0)
    assert found.sustained == sustained
    assert found.doubt == "; ".join(doubt.what for doubt in doubts)
