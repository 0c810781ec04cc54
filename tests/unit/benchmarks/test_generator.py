from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import gevent
import pytest

from benchmarks.load.generator import Generator
from benchmarks.load.recorder import Samples
from benchmarks.load.wire import Answer
from benchmarks.result import NO_CONNECTION_FREE
from benchmarks.sla import Constant, Limits, Sla, Target
from benchmarks.workloads import Prepared

RATE = 64.0  # a power of two: no request falls on the wrong side of an end by rounding


def sla(**changes: Any) -> Sla:
    target = Target(
        name="a", model="digits", limits=Limits(p99_ms=5), rate=RATE, arrivals=Constant()
    )
    fields = {"warmup_seconds": 0.125, "duration_seconds": 0.25, "timeout_seconds": 5.0, **changes}
    return Sla(target=(target,), **fields)


class Script:
    """A caller whose answers take as long as they are told to."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = list(seconds)
        self.asked: list[tuple[float, float]] = []

    def connect(self) -> float:
        """Is there."""
        return 0.0

    def ask(self, prepared: Prepared, tolerance: float) -> Answer:
        """Take a while; and some more before it is on its way, as a busy process would."""
        assert prepared.case.model == "digits"
        assert tolerance
        gevent.sleep(0.002)
        begun = perf_counter()
        gevent.sleep(self._seconds.pop(0) if self._seconds else 0)
        seconds = perf_counter() - begun
        self.asked.append((begun, seconds))
        return Answer(begun, seconds)

    def close(self) -> None:
        """Nothing to do."""


@pytest.fixture
def heard() -> list[float]:
    """Latencies that Locust is told."""
    return []


def generator(heard: list[float], one: Sla) -> Generator:
    def hear(target: Target, answer: Answer, seconds: float) -> None:
        assert target.name == "a"
        assert answer.seconds <= seconds
        heard.append(seconds)

    return Generator(one, Path("sla.toml"), "http://127.0.0.1:9", "127.0.0.1:9", hear)


def test_latency_is_from_the_intended_send_to_the_answer(heard: list[float]) -> None:
    """However it is split: one caller, a stall, and what had to wait behind it."""
    one = generator(heard, sla())
    caller = Script(*[0] * 10, 0.1)
    serving = gevent.spawn(one.serve, 0, caller)
    gevent.sleep(0)
    assert not caller.asked  # it waits for the beginning
    one.begin(0, 1, [(0, 1)])
    epoch = one._epoch
    while not one.done:
        gevent.sleep(0.01)
    samples = Samples(1)
    samples.put(one.take())
    one.stop()
    serving.join()
    rows = samples.of(0, 10.0)
    assert len(caller.asked) == len(heard) == 24
    assert len(rows) == 16
    begun, seconds = caller.asked[7]
    free = begun - epoch + seconds
    for row, (begun, seconds), told in zip(
        rows, caller.asked[8:], heard[8:], strict=True
    ):  # the first eight were the warm-up's
        due = row["intended"] + 0.125
        assert row["latency"] == pytest.approx(begun - epoch + seconds - due, abs=1e-5)
        assert told == pytest.approx(row["latency"], abs=1e-5)
        assert row["latency"] == pytest.approx(row["late"] + row["wait"] + row["service"])
        assert row["service"] == pytest.approx(seconds)
        assert row["late"] >= 0.001  # from the moment it could have been sent
        waited = max(0.0, free - due)
        assert row["wait"] >= waited - 1e-5
        free = begun - epoch + seconds
    assert rows["wait"].max() > 0.05  # five were due during the stall


def test_what_finds_no_connection_in_time_has_failed(heard: list[float]) -> None:
    """Every request is told of, though one caller was stuck with the first of them."""
    one = generator(heard, sla(timeout_seconds=0.05))
    serving = gevent.spawn(one.serve, 0, Script(0.6))
    one.begin(0, 1, [(0, 1)])
    samples = Samples(1)
    while not one.done:
        samples.put(one.take())
        gevent.sleep(0.01)
    samples.put(one.take())
    one.stop()
    serving.join()
    rows = samples.of(0, 10.0)
    assert len(rows) == 16
    failed = rows[rows["fate"] != 0]
    assert {samples.fate(int(fate)) for fate in failed["fate"]} == {NO_CONNECTION_FREE}
    assert len(failed) > 0
    assert (failed["service"] == 0).all()
    assert (failed["wait"] >= 0.05).all()


def test_a_process_without_callers_has_nothing_to_do(heard: list[float]) -> None:
    """It is done at once, and others send what would have been its part."""
    one = generator(heard, sla())
    one.begin(1, 1, [None])
    one._give_up()
    told = one.take()
    one.stop()
    assert told["done"]
    assert told["worker"] == 1
    assert told["rows"] == b""


def test_ids_begin_with_the_process(heard: list[float]) -> None:
    """Also of callers that were there before it had a number."""
    one = generator(heard, sla())
    ids = one._ids
    one.begin(5, 1, [None])
    first, second = next(ids), next(ids)
    one.stop()
    assert first != second
    assert first.startswith("0005")
