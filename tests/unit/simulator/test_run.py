from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from service.batching.member import Batch, Member
from service.simulator import doors
from service.simulator.arrivals import bursty, on_off, poisson
from service.simulator.doors import Door
from service.simulator.engine import EngineModel
from service.simulator.figures import figures
from service.simulator.queues import BentoML, FixedDelay, Making, Ours, Queue, WhenFree
from service.simulator.run import Fate, History, Scenario, run

ENGINE = EngineModel(fixed=0.004, each=0.001, rows=16, instances=2)
UNEVEN = replace(
    ENGINE, outliers=0.02, stalls=((1.0, 0.4),), drift=(2.0, 1.5), cold=(3, 20.0), noise=0.4
)


def ours(model: EngineModel, slo: float, gateways: int) -> Queue:
    """The gateway's own schedule."""
    del slo
    return Ours(model, gateways)


def immediate(model: EngineModel, slo: float, gateways: int) -> Queue:
    """All that waits, as soon as an instance is free."""
    del slo, gateways
    return WhenFree(model, in_flight=1)


def delayed(model: EngineModel, slo: float, gateways: int) -> Queue:
    """Triton's rule."""
    del slo, gateways
    return FixedDelay(model, delay=0.005)


def bento(model: EngineModel, slo: float, gateways: int) -> Queue:
    """BentoML's rule."""
    del gateways
    return BentoML(model, latency=slo)


POLICIES = [ours, immediate, delayed, bento]


def outcome(history: History) -> list[tuple[float, float, Fate]]:
    """What became of each request."""
    return [(one.came, one.at, one.fate) for one in history.ended]


@pytest.mark.parametrize("making", POLICIES)
@pytest.mark.parametrize("load", [0.5, 2.0])
def test_every_request_ends_exactly_once(making: Making, load: float) -> None:
    """Whatever the engine does: as many end as came, none before it came, none waits for ever."""
    scenario = Scenario(
        engine=UNEVEN,
        load=load,
        slo=0.1,
        seconds=3.0,
        arrivals=on_off(0.3, 0.2),
        rows=(1, 2, 7),
        priorities=(1, 2),
        deadline=0.3,
        gateways=(0.5, 0.5),
        callers=(0.6, 0.2, 0.2),
    )
    came = Counter[int]()

    def counting(queue: Queue, member: Member, now: float) -> None:
        came[id(member)] += 1
        kept.append(member)
        doors.everybody(queue, member, now)

    kept: list[Member] = []
    history = run(scenario, making, counting)
    assert len(history.ended) == len(came) == sum(came.values()) > 200
    assert all(0 <= one.came <= one.at for one in history.ended)
    assert not any(member.open for member in kept)
    for one in history.ended:
        if one.fate is Fate.ANSWERED:
            assert one.at - one.came <= scenario.deadline + 1e-9


@pytest.mark.parametrize("door", [doors.everybody, doors.limit(20), doors.learned()])
def test_the_same_seed_gives_the_same(door: Door) -> None:
    """And another another."""
    scenario = Scenario(engine=UNEVEN, load=1.2, slo=0.1, seconds=2.0, arrivals=bursty(8))
    once, again, other = (outcome(run(scenario, ours, door, seed)) for seed in (1, 1, 2))
    assert once == again
    assert once != other


@pytest.mark.parametrize("making", [immediate, ours])
def test_the_mean_wait_is_that_of_queueing_theory(making: Making) -> None:
    """M/D/1, by Pollaczek and Khinchine: load / (2 (1 - load)) times the service."""
    load, service = 0.7, 0.01
    engine = EngineModel(fixed=service, each=0.0, rows=1, noise=0.0, transit=0.0)
    scenario = Scenario(engine=engine, load=load, slo=math.inf, seconds=250.0)
    history = run(scenario, making, doors.everybody, seed=3)
    took = np.mean([one.at - one.came for one in history.ended])
    assert took - service == pytest.approx(load / (2 * (1 - load)) * service, rel=0.08)


@pytest.mark.parametrize("making", POLICIES)
def test_no_batch_is_larger_than_the_model_takes(making: Making) -> None:
    """And under load they are no smaller than they need be."""
    scenario = Scenario(engine=ENGINE, load=3.0, slo=0.2, seconds=2.0, rows=(1, 3, 5), deadline=0.3)
    sizes = [rows for _, rows in run(scenario, making, doors.everybody).batches]
    assert max(sizes) <= ENGINE.rows
    assert np.mean(sizes) > ENGINE.rows / 2


class Counted(Ours):
    """Looks how many batches it has in flight."""

    most = 0

    def send(self, members: Sequence[Member], now: float) -> Batch:
        """Count them."""
        batch = super().send(members, now)
        self.most = max(self.most, len(self.schedule.running))
        return batch


@pytest.mark.parametrize(("service", "slots"), [(0.0005, 3), (0.02, 2)])
def test_no_batch_leaves_while_all_places_are_taken(service: float, slots: int) -> None:
    """One for each instance; where runs are short, and at first, one more is on its way."""
    engine = EngineModel(fixed=service, each=0.0, rows=8, instances=2)
    found: list[Counted] = []

    def counted(model: EngineModel, slo: float, gateways: int) -> Queue:
        del slo
        found.append(Counted(model, gateways))
        return found[-1]

    history = run(Scenario(engine=engine, load=2.0, slo=1.0, seconds=0.5), counted, doors.learned())
    assert len(history.batches) >= 20
    assert found[0].most <= 3
    assert found[0].schedule.limits.in_flight == slots


def test_the_plain_limit_is_kept() -> None:
    """By those who wait and those who are computed together."""
    inside: list[int] = []
    door = doors.limit(12)

    def watched(queue: Queue, member: Member, now: float) -> None:
        inside.append(queue.inside)
        door(queue, member, now)

    history = run(Scenario(engine=ENGINE, load=3.0, slo=1.0, seconds=2.0), ours, watched)
    assert max(inside) == 12
    assert any(one.fate is Fate.REFUSED for one in history.ended)


def test_what_the_learned_cost_refuses_it_refuses_at_once_with_when_to_come_again() -> None:
    """And what it lets in is answered in time but for a few."""
    history = run(Scenario(engine=ENGINE, load=2.0, slo=0.1, seconds=3.0), ours, doors.learned())
    refused = [one for one in history.ended if one.fate is Fate.REFUSED]
    assert refused
    assert all(one.at == one.came and one.retry_after for one in refused)
    found = figures(history)
    assert found.goodput > 0.85
    assert found.late < 0.05
    open_door = run(replace(history.scenario, seconds=2.5), immediate, doors.everybody)
    assert figures(open_door).late > 0.5


def test_one_connection_with_most_of_the_requests_takes_only_its_own_time() -> None:
    """The others are answered as if it were not there: callers take turns."""
    scenario = Scenario(
        engine=ENGINE, load=2.0, slo=0.1, seconds=3.0, callers=(0.9, *[0.01] * 10), deadline=0.5
    )
    history = run(scenario, ours, doors.learned())
    answered: Counter[bool] = Counter()
    came: Counter[bool] = Counter()
    for one in history.ended:
        came[one.caller == 1] += 1
        answered[one.caller == 1] += one.fate is Fate.ANSWERED
    assert answered[False] / came[False] > 0.9
    assert answered[True] / came[True] < 0.6


def test_figures_are_shares_of_what_could_have_been() -> None:
    """At a load that an engine bears, all is answered in time."""
    found = figures(
        run(Scenario(engine=ENGINE, load=0.5, slo=1.0, seconds=6.0), ours, doors.learned())
    )
    assert found.goodput == pytest.approx(1.0, abs=0.05)
    assert (found.refused, found.dropped, found.late) == (0, 0, 0)
    assert 0 < found.p50 <= found.p99 < 1
    assert set(found.document()) >= {"goodput", "p50", "p99", "rows"}


@pytest.mark.parametrize("rate", [50.0, 400.0])
def test_simulated_time_is_as_long_as_the_arrivals(rate: float) -> None:
    """Requests come at the load that was asked for."""
    engine = EngineModel(fixed=0.0, each=1 / rate, rows=1)
    history = run(
        Scenario(engine=engine, load=0.5, slo=1.0, seconds=40.0, arrivals=poisson),
        ours,
        doors.everybody,
    )
    assert len(history.ended) == pytest.approx(0.5 * rate * 40, rel=0.1)
