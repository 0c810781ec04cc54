from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import result
from benchmarks.load import gateway_metrics
from benchmarks.load.collector import Collector, seeds
from benchmarks.load.recorder import RIGHT, Recorder, Timing
from benchmarks.result import NO_CONNECTION_FREE
from benchmarks.series import LATE, LATENCY, SERVICE, WAIT
from benchmarks.sla import Constant, Limits, Sla, Target, Trace

PLANNED = 40


def target(name: str = "a", **changes: Any) -> Target:
    fields = {"model": "digits", "rate": 10.0, "arrivals": Constant(), **changes}
    return Target(name=name, limits=Limits(p99_ms=5), **fields)


def sla(*targets: Target, **changes: Any) -> Sla:
    fields = {"warmup_seconds": 1.0, "duration_seconds": 4.0, "timeout_seconds": 2.0, **changes}
    return Sla(target=targets or (target(),), **fields)


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The collector's."""
    found = Clock()
    monkeypatch.setattr("benchmarks.load.collector.time", found)
    return found


def collector(one: Sla, path: Path = Path("sla.toml")) -> Collector:
    return Collector(one, path, "http://127.0.0.1:9", 1)


def message(recorder: Recorder, worker: int = 0, *, done: bool = False, **more: Any) -> Any:
    return {
        "worker": worker,
        "done": done,
        "connects": [],
        "pulses": [],
        **recorder.take(),
        **more,
    }


def add(recorder: Recorder, intended: float, fate: str = RIGHT, index: int = 0) -> None:
    service = 0.0 if fate == NO_CONNECTION_FREE else 0.02
    recorder.add(index, Timing(intended, 0.001, 0.004, service), fate, "why")


def written(one: Collector, folder: Path) -> result.Repetition:
    one.write(folder)
    (found,) = result.read(folder)
    return found


def test_what_was_measured_is_written(clock: Clock, tmp_path: Path) -> None:
    """By target, by tag, in the second of the intended send; the warm-up is not in it."""
    one = collector(sla(target(), target("b")))
    one.begin(1)
    recorder = Recorder()
    for number in range(-10, PLANNED):
        add(recorder, number / 10)
        add(recorder, number / 10, "HTTP 503" if number % 4 == 0 else RIGHT, index=1)
    pulse = [0, 0, 0.5, 1.0, 0.0, 0.0, 0.9]
    one.put(message(recorder, done=True, connects=[0.0015], pulses=[pulse]))
    clock.now += 5
    found = written(one, tmp_path)
    assert found.run.complete
    assert found.run.problem == ""
    assert (found.run.seed, found.run.seconds, found.run.workers) == (1001, 4.0, 1)
    assert found.run.connect_ms == (1.5,)
    assert [list(_fields(p)) for p in found.run.pulses] == [pulse]
    good, bad = found.targets["a"], found.targets["b"]
    assert good.asked.tolist() == bad.asked.tolist() == [10] * 4
    assert good.unsent == bad.unsent == 0
    assert good.series[LATENCY].total == good.series[SERVICE].total == PLANNED
    assert good.series[LATENCY].values == pytest.approx([25_000], rel=2e-3)
    assert good.series[LATE].values == pytest.approx([1000], rel=2e-3)
    assert good.series[WAIT].values == pytest.approx([4000], rel=2e-3)
    assert bad.failed.tolist() == [3, 2, 3, 2]
    assert bad.failures == {"HTTP 503": 10}
    assert bad.series[LATENCY].total == 30
    assert bad.series[SERVICE].total == PLANNED
    assert list(bad.examples) == ["HTTP 503: why"]
    assert not good.failures
    assert not good.examples


def _fields(pulse: result.Pulse) -> Any:
    return (getattr(pulse, name) for name in pulse.__struct_fields__)


def test_what_was_due_and_never_sent_is_counted(clock: Clock, tmp_path: Path) -> None:
    """Out of the seed alone: nobody need tell of it."""
    one = collector(sla())
    one.begin(1)
    recorder = Recorder()
    for number in range(25):
        add(recorder, number / 10)
    one.put(message(recorder))
    clock.now += 3
    found = written(one, tmp_path)
    assert not found.run.complete
    assert found.run.problem == "1 of 1 generator processes did not end their share"
    assert found.targets["a"].unsent == PLANNED - 25


@pytest.mark.parametrize("rate", [3.0, 7.0, 0.3, 49.0])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 1 / 3])
def test_all_that_is_due_leaves_nothing_unsent(
    rate: float, warmup: float, clock: Clock, tmp_path: Path
) -> None:
    """Wherever the ends of the measured time fall among the requests."""
    one = collector(sla(target(rate=rate), warmup_seconds=warmup, duration_seconds=4.7))
    one.begin(1)
    recorder = Recorder()
    for number in range(1000):
        at = number / rate
        if at < warmup + 4.7:
            add(recorder, at - warmup)
    one.put(message(recorder, done=True))
    assert clock.now
    found = written(one, tmp_path)
    assert found.targets["a"].unsent == 0
    assert len(found.targets["a"].failed) == 5


def test_a_request_without_a_connection_has_failed_and_was_never_sent(
    clock: Clock, tmp_path: Path
) -> None:
    """So it has no service time, which would be a short one."""
    one = collector(sla())
    one.begin(1)
    recorder = Recorder()
    for number in range(PLANNED):
        add(recorder, number / 10, NO_CONNECTION_FREE if number >= 30 else RIGHT)
    one.put(message(recorder, done=True))
    clock.now += 9
    target = written(one, tmp_path).targets["a"]
    assert target.failures == {NO_CONNECTION_FREE: 10}
    assert target.unsent == 0
    assert target.asked.sum() == PLANNED
    assert target.series[SERVICE].total == target.series[LATE].total == 30
    assert target.series[WAIT].total == PLANNED


def test_it_is_complete_when_every_process_is_done(clock: Clock) -> None:
    """Each counts once, however often it says so."""
    one = collector(sla())
    assert (one.running, one.complete) == (False, False)
    one.begin(2)
    for worker, complete in ((0, False), (0, False), (1, True)):
        one.put(message(Recorder(), worker, done=True))
        assert one.complete == complete
    assert clock.now
    assert not one.overdue


def test_it_is_overdue_when_the_last_answer_must_have_come(clock: Clock) -> None:
    """The last request may find a connection a timeout late, and time out itself."""
    one = collector(sla())
    clock.now += 100
    assert not one.overdue  # it has not begun
    one.begin(1)
    clock.now += 1 + 4 + 2 * 2
    assert not one.overdue
    clock.now += 10
    assert one.overdue


def test_a_process_that_cannot_take_part_ends_it(clock: Clock, tmp_path: Path) -> None:
    """At once, and the run says why."""
    one = collector(sla())
    one.begin(2)
    one.refuse("generator process 1 has another SLA file than the master")
    assert one.overdue
    clock.now += 1
    found = written(one, tmp_path).run
    assert not found.complete
    assert found.problem == "generator process 1 has another SLA file than the master"


def test_a_load_that_never_began_says_so(clock: Clock, tmp_path: Path) -> None:
    """And nothing was due."""
    one = collector(sla())
    assert clock.now
    assert json.loads(one.status())["elapsed"] == 0
    found = written(one, tmp_path)
    assert "never began" in found.run.problem
    assert found.targets["a"].unsent == 0


def test_whoever_watches_sees_the_last_seconds(clock: Clock) -> None:
    """The p99 is of lately; the counts are of the measured time."""
    one = collector(sla(duration_seconds=100.0))
    one.begin(1)
    recorder = Recorder()
    for number in range(-10, 500):
        add(recorder, number / 10, "timeout" if number in (-5, 3, 4) else RIGHT)
    one.put(message(recorder))
    clock.now += 51
    told = json.loads(one.status())
    assert (told["elapsed"], told["length"], told["warmup"]) == (51.0, 101.0, 1.0)
    (shown,) = told["targets"]
    assert shown == {"name": "a", "p99_ms": 25.0, "asked": 500, "failed": 2}
    add(recorder, 49.5, "timeout")
    one.put(message(recorder))
    (shown,) = json.loads(one.status())["targets"]
    assert shown["p99_ms"] is None  # infinite, as failures are


HEAD = "# TYPE {0} histogram\n{0}_bucket{{{1}}} {2}\n"
LABELS = 'model="digits",protocol="http",code="200",le="0.1"'


def exposed(count: int) -> str:
    return "".join(
        HEAD.format(name, LABELS, count * factor)
        for factor, name in enumerate(
            ("lupine_request_duration_seconds", "lupine_batch_rows"), start=1
        )
    ).replace(
        'lupine_batch_rows_bucket{model="digits",protocol="http",code="200"',
        ('lupine_batch_rows_bucket{model="digits"'),
    )


class Metrics:
    """A gateway whose counts grow by ten between two looks, each of which takes a while."""

    def __init__(self, clock: Clock, *seconds: float, mute: bool = False) -> None:
        self._clock = clock
        self._seconds = list(seconds)
        self._mute = mute
        self.looks = 0

    def fetch(self, _: str) -> str | None:
        """As `gateway_metrics.fetch`."""
        self._clock.now += self._seconds[self.looks]
        self.looks += 1
        return None if self._mute else exposed(10 * self.looks)


@pytest.mark.parametrize(
    ("metrics", "targets", "server"),
    [
        ({"seconds": (0.01, 3.0)}, [target()], {0.1: 10.0}),
        ({"seconds": (0.2, 0.01)}, [target()], {}),  # which requests had it counted by then?
        ({"seconds": (0.01, 0.01), "mute": True}, [target()], {}),
        ({"seconds": (0.01, 0.01)}, [target(wire="grpc")], {}),
        ({"seconds": (0.01, 0.01)}, [target(), target("b")], {}),  # of which of them?
        ({"seconds": (0.01, 0.01)}, [target(), target("b", wire="grpc")], {0.1: 10.0}),
    ],
)
def test_the_gateways_own_counts_are_of_the_measured_time(
    metrics: dict[str, Any],
    targets: list[Target],
    server: dict[float, float],
    *,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where they can be told from everything else's, and were taken at the right moment."""
    fake = Metrics(clock, *metrics.pop("seconds"), **metrics)
    monkeypatch.setattr(gateway_metrics, "fetch", fake.fetch)
    one = collector(sla(*targets))
    one.begin(1)
    for _ in range(3):
        assert one.scraped == (fake.looks == 2)
        one.scrape()
    assert fake.looks == 2
    found = written(one, tmp_path).targets["a"]
    assert found.server == server
    if server:
        assert found.server_batches == {0.1: 20.0}


def test_a_trace_decides_what_was_due(clock: Clock, tmp_path: Path) -> None:
    """It lies beside the SLA file."""
    (tmp_path / "t.txt").write_text("0\n0.5\n1\n")
    traced = target(rate=None, arrivals=Trace("t.txt"))
    one = collector(sla(traced), tmp_path / "sla.toml")
    one.begin(1)
    assert clock.now
    assert written(one, tmp_path).targets["a"].unsent == 8


def test_every_repetition_has_its_own_seed() -> None:
    """All of which follow from the file's."""
    assert list(seeds(Sla(target=(target(),), seed=3, repetitions=3))) == [3001, 3002, 3003]
