"""What is compared in virtual time: policies of batching, and doors before the gateway's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from service.simulator import doors
from service.simulator.arrivals import Arrivals, bursty, on_off, poisson, recorded
from service.simulator.doors import Door
from service.simulator.engine import EngineModel
from service.simulator.figures import Figures, figures
from service.simulator.queues import BentoML, FixedDelay, Making, Ours, Queue, WhenFree
from service.simulator.run import Fate, Scenario, run

OURS = "ours"
LEARNED, EVERYBODY = "learned", "everybody"
LOADS = (0.3, 0.7, 0.95, 1.3, 2.0)
LIMITS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SEEDS = (1, 2)
SECONDS = 8.0

SHARING = EngineModel(fixed=0.005, each=0.0003, rows=16)
"""A run costs much and a row little, as on a GPU: large batches pay."""
ROWS_COST = EngineModel(fixed=0.002, each=0.010, rows=64, instances=2)
"""A row costs as much in company, as `magika` does on two cores: large batches do not pay."""
ENGINES = {"sharing": (SHARING, 0.06), "rows cost": (ROWS_COST, 0.5)}
"""And the SLO of each, in seconds."""


def evening() -> Arrivals:
    """A recording: a load that swells and ebbs, and two rushes of a second in it."""
    random = np.random.default_rng(16)
    seconds = np.arange(60)
    rates = 40 * (1 + 0.6 * np.sin(seconds / 60 * 2 * np.pi))
    rates[[17, 41]] *= 3
    return recorded(
        np.concatenate(
            [
                at + np.sort(random.uniform(0, 1, random.poisson(rate)))
                for at, rate in zip(seconds, rates, strict=True)
            ]
        ).tolist()
    )


ARRIVALS: Mapping[str, Arrivals] = {
    "poisson": poisson,
    "bursty": bursty(8),
    "on/off": on_off(0.5, 0.5),
    "recorded": evening(),
}


def _ours(model: EngineModel, slo: float, gateways: int) -> Queue:
    del slo
    return Ours(model, gateways)


def _fixed_delay(seconds: float) -> Making:
    return lambda model, _slo, _gateways: FixedDelay(model, delay=seconds)


POLICIES: Mapping[str, tuple[Making, Door]] = {
    OURS: (_ours, doors.learned()),
    "immediate": (lambda model, _slo, _gateways: WhenFree(model, in_flight=1), doors.everybody),
    "fixed 1 ms": (_fixed_delay(0.001), doors.everybody),
    "fixed 5 ms": (_fixed_delay(0.005), doors.everybody),
    "BentoML": (lambda model, slo, _gateways: BentoML(model, latency=slo), doors.everybody),
}
"""Each with the admission that it has; all but ours have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One line of a table: what is simulated, by its names.

    Args:
        table: `policies`, `admission` or `fairness`.
        engine: one of `ENGINES`, with what became of it.
        arrivals: one of `ARRIVALS`.
        name: of the policy or the door.
        scenario: what is run.
        making: the policy.
        door: the admission.
    """

    table: str
    engine: str
    arrivals: str
    name: str
    scenario: Scenario
    making: Making = field(default=_ours)
    door: Door = field(default=doors.everybody)

    def document(self) -> Mapping[str, object]:
        """Run it with every seed: the names, and the figures' means."""
        histories = [run(self.scenario, self.making, self.door, seed) for seed in SEEDS]
        found = [figures(history) for history in histories]
        document: dict[str, object] = {
            "table": self.table,
            "engine": self.engine,
            "arrivals": self.arrivals,
            "load": self.scenario.load,
            "name": self.name,
            **_mean(found),
        }
        if self.table == "fairness":
            ended = [one for history in histories for one in history.ended]
            for who, crowd in (
                ("greedy", [one for one in ended if one.caller == 1]),
                ("calm", [one for one in ended if one.caller > 1]),
            ):
                answered = [one.fate is Fate.ANSWERED for one in crowd]
                document[who] = round(float(np.mean(answered)), 4) if crowd else None
        return document


def _mean(found: list[Figures]) -> Mapping[str, float]:
    documents = [one.document() for one in found]
    return {key: round(float(np.mean([one[key] for one in documents])), 4) for key in documents[0]}


def policies() -> Iterator[Cell]:
    """Ours beside what other servers do, by arrivals and load."""
    for engine, (model, slo) in ENGINES.items():
        for arrivals, times in ARRIVALS.items():
            for load in LOADS:
                for name, (making, door) in POLICIES.items():
                    scenario = Scenario(engine=model, load=load, slo=slo, arrivals=times)
                    yield Cell(
                        table="policies",
                        engine=engine,
                        arrivals=arrivals,
                        name=name,
                        scenario=replace(scenario, seconds=SECONDS),
                        making=making,
                        door=door,
                    )


def admission() -> Iterator[Cell]:
    """The gateway's batching behind no door, a plain limit, and the learned cost."""
    choices: dict[str, Door] = {EVERYBODY: doors.everybody, LEARNED: doors.learned()}
    choices |= {f"limit {most}": doors.limit(most) for most in LIMITS}
    for engine, (model, slo) in ENGINES.items():
        usual = Scenario(engine=model, load=1.3, slo=slo, seconds=SECONDS)
        slower = replace(model, drift=(3.0, 3.0))
        changed = {
            "": usual,
            ", 2 x": replace(usual, load=2.0),
            ", bursty": replace(usual, arrivals=bursty(8)),
            ", 1 to 16 rows": replace(usual, rows=(1, 1, 1, 2, 4, 16)),
            ", 3 times slower from 3 s on": replace(usual, engine=slower),
        }
        for change, scenario in changed.items():
            for name, door in choices.items():
                yield Cell(
                    table="admission",
                    engine=engine + change,
                    arrivals="bursty" if change == ", bursty" else "poisson",
                    name=name,
                    scenario=scenario,
                    door=door,
                )


def fairness() -> Iterator[Cell]:
    """One connection sends nine tenths of all requests, ten others the rest."""
    shares = (0.9, *[0.01] * 10)
    for engine, (model, slo) in ENGINES.items():
        for load in LOADS[-2:]:
            usual = Scenario(engine=model, load=load, slo=slo, seconds=SECONDS)
            for name, callers in (("in turn", shares), ("as they come", ())):
                yield Cell(
                    table="fairness",
                    engine=engine,
                    arrivals="poisson",
                    name=name,
                    scenario=replace(usual, callers=callers),
                    door=doors.learned(),
                )


def cells() -> list[Cell]:
    """All of them."""
    return [*policies(), *admission(), *fairness()]
