from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks.doubts import Doubt, find
from benchmarks.result import Repetition
from benchmarks.sla import Bursts, Limits, Sla, Target
from tests.counted import NAME, promised, pulse, repetition, repetitions, target_run

GOOD = target_run({10.0: 100})
P99 = promised(p99_ms=100)


def sick(**changed: Any) -> list[Repetition]:
    """Three repetitions, the second of which is not as it should be."""
    return [repetition(GOOD), repetition(GOOD, number=2, **changed), repetition(GOOD, number=3)]


def pulses(seconds: int, **changed: Any) -> Any:
    """A minute of pulses, some of its seconds other than usual."""
    return tuple(pulse(i, **(changed if 0 <= i < seconds else {})) for i in range(-2, 60))


def only(found: tuple[Doubt, ...]) -> Doubt:
    assert len(found) == 1, found
    return found[0]


def test_a_healthy_measurement_leaves_no_doubt() -> None:
    """Punctual, complete, with room to spare: there is nothing to say."""
    assert find(P99, repetitions(GOOD, GOOD, GOOD)) == ()


def test_a_repetition_that_ended_early() -> None:
    """It says which one, and why."""
    doubt = only(find(P99, sick(complete=False, problem="worker 1 was lost")))
    assert "repetition 2" in doubt.what
    assert "worker 1 was lost" in doubt.what
    assert doubt.target == ""


def test_less_than_was_to_be_measured() -> None:
    """A repetition that is missing, or too short, is not what the SLA asks for."""
    assert "2 of 3 repetitions" in only(find(P99, repetitions(GOOD, GOOD))).what
    short = target_run({10.0: 100}, seconds=30)
    assert "30 s of 60" in only(find(P99, repetitions(GOOD, GOOD, short))).what


@pytest.mark.parametrize(("late_ms", "doubted"), [(9.9, False), (10.1, True)])
def test_a_late_generator(late_ms: float, doubted: bool) -> None:  # noqa: FBT001
    """Two of a hundred that were sent late by more than a tenth of the limit are too many."""
    run = target_run({10.0: 100}, late={0.1: 98, late_ms: 2})
    found = find(P99, repetitions(run, run, run))
    assert [one.target for one in found] == [NAME] * doubted
    assert all("360 of 18000 requests more than 10 ms late" in one.what for one in found)


def test_lateness_counts_at_the_promised_quantile() -> None:
    """What a p50 can bear is too much for a p99; within a millisecond nobody is late."""
    run = target_run({10.0: 100}, late={0.9: 70, 2.0: 30})
    assert find(promised(p50_ms=5), repetitions(run, run, run)) == ()
    assert find(promised(p99_ms=5), repetitions(run, run, run))
    assert find(promised(error_ratio=0), repetitions(run, run, run)) == ()
    punctual = target_run({10.0: 100}, late={0.9: 100})
    assert find(promised(p99_ms=5), repetitions(punctual, punctual, punctual)) == ()


def test_requests_that_were_never_sent() -> None:
    """One that was due and not sent is a doubt: nobody knows how long it would have taken."""
    run = target_run({10.0: 100}, unsent=4)
    doubt = only(find(P99, repetitions(GOOD, GOOD, run)))
    assert "4 requests that were due were never sent" in doubt.what
    assert "processes" in doubt.advice


@pytest.mark.parametrize(
    ("seconds", "changed", "what"),
    [
        (7, {"cpu": 0.95}, "process 0 used over 0.9 of a core in 12%"),
        (6, {"cpu": 0.95}, ""),
        (60, {"lag_ms": 40.0}, "event loop was late by more than 10 ms in 60 of 180"),
        (2, {"lag_ms": 900.0}, "900 ms at most: 1.00% of the time, and a p99 can bear 0.50%"),
        (4, {"lag_ms": 11.0}, ""),
        (60, {"lag_ms": 9.0}, ""),
        (60, {"gc_ms": 40.0}, "garbage collection took more than 10 ms in 60 of 180"),
        (60, {"steal": 0.16}, "took 5.3% of its time"),
        (10, {"steal": 0.25}, "more than 20% in 6% of the seconds"),
        (60, {"steal": 0.1}, ""),
        (7, {"steal": 0.25}, ""),
    ],
)
def test_a_generator_or_host_that_is_not_well(
    seconds: int, changed: dict[str, float], what: str
) -> None:
    """A core that is full, a loop that lags, a host that others use: each from a threshold on."""
    found = find(P99, sick(pulses=pulses(seconds, **changed)))
    assert [what in one.what for one in found] == ([True] if what else [])
    assert all(one.advice for one in found)


def test_the_warm_up_is_not_held_against_the_generator() -> None:
    """Before the measured time begins, it may be as busy as it likes."""
    busy = tuple(pulse(i, cpu=1.0 if i < 0 else 0.3, lag_ms=50.0 * (i < 0)) for i in range(-60, 60))
    assert find(P99, sick(pulses=busy)) == ()


def test_one_process_of_many_that_is_busy() -> None:
    """The others' leisure does not make up for it."""
    both = tuple(pulse(i, worker=w, cpu=0.2 + 0.78 * w) for i in range(60) for w in range(2))
    doubt = only(find(P99, sick(pulses=both, workers=2)))
    assert "process 1" in doubt.what
    assert "repetition 2" in doubt.what


def test_a_generator_that_told_nothing() -> None:
    """Without pulses nobody knows whether it was well."""
    silent = [repetition(GOOD, number=i, pulses=()) for i in range(3)]
    assert "told how it was in 0 of 180" in only(find(P99, silent)).what


@pytest.mark.parametrize(
    ("server", "what"),
    [
        ({0.05: 6000.0, np.inf: 6000.0}, ""),
        ({0.05: 6055.0, np.inf: 6055.0}, ""),
        ({0.05: 6070.0, np.inf: 6070.0}, "counted 6070 answers, the generator 6000"),
        ({0.05: 5900.0, np.inf: 5900.0}, "counted 5900 answers, the generator 6000"),
        ({0.005: 0.0, 0.05: 5000.0, np.inf: 6000.0}, "1000 answers took longer than 50 ms"),
        ({0.005: 0.0, 0.05: 5940.0, np.inf: 6000.0}, ""),
    ],
)
def test_the_gateways_own_histogram(server: dict[float, float], what: str) -> None:
    """It counted as many answers, but for a few at the ends, and none slower than ours."""
    run = target_run({10.0: 100}, server=server)
    found = find(P99, repetitions(GOOD, run, GOOD))
    assert [what in one.what for one in found] == ([True] if what else [])
    assert all(one.target == NAME for one in found)


def test_a_wrong_answer_is_one_for_the_gateway() -> None:
    """It counts what failed in our eyes alone; that is no contradiction."""
    run = target_run({10.0: 90}, failed=10, server={0.05: 6000.0, np.inf: 6000.0})
    assert find(P99, repetitions(run, run, run)) == ()


def test_targets_that_share_a_model_and_a_protocol_share_its_histogram() -> None:
    """Two streams to one model over HTTP are held against its count together."""
    server = {0.05: 12_000.0, np.inf: 12_000.0}
    limits = Limits(p99_ms=100)
    targets = tuple(
        Target(name=name, model="digits", rate=100, limits=limits) for name in ("a", "b")
    )
    runs = [target_run({10.0: 100}, name=name, server=server) for name in ("a", "b")]
    one = [repetition(*runs)]
    assert find(Sla(target=targets, repetitions=1), one) == ()
    apart = (targets[0], msgspec.structs.replace(targets[1], wire="grpc"))
    found = find(Sla(target=apart, repetitions=1), one)
    assert [doubt.target for doubt in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("rate", "doubted"), [(96.5, False), (103.5, False), (95, True), (110, True)]
)
def test_another_load_than_was_meant(rate: float, doubted: bool) -> None:  # noqa: FBT001
    """In three minutes 100/s are 18,000 requests, give or take five standard deviations."""
    found = find(promised(rate=rate, p99_ms=100), repetitions(GOOD, GOOD, GOOD))
    assert [one.target for one in found] == [NAME] * doubted


def test_no_rate_is_expected_of_bursts() -> None:
    """How many come in a minute of bursts depends on where it is cut."""
    sla = promised(rate=50, p99_ms=100)
    burst = msgspec.structs.replace(sla.target[0], arrivals=Bursts(on_seconds=1, every_seconds=40))
    bursting = msgspec.structs.replace(sla, target=(burst,))
    assert find(bursting, repetitions(GOOD, GOOD, GOOD)) == ()
