"""What a simulation comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from service.simulator.run import Ended, Fate, History


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All of them are ratios, but for the rows.

    Args:
        goodput: rows answered within the SLO a second, by what could have been: the capacity, or
            what was asked where that is less.
        p50: of the answers' latencies, by the SLO.
        p99: the same.
        refused: of the requests, at once.
        dropped: of the requests, after they had waited.
        late: of the answers, later than the SLO.
        told: the 99 % quantile of the time until a refusal, by the SLO; 0 where nobody was refused.
        rows: of a batch on average.
        idle: of the engine's time, while somebody waited.
    """

    goodput: float
    p50: float
    p99: float
    refused: float
    dropped: float
    late: float
    told: float
    rows: float
    idle: float

    def document(self) -> Mapping[str, float]:
        """For JSON, with as many digits as mean something."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def figures(history: History) -> Figures:
    """Of all that came or ended after the warm-up."""
    scenario = history.scenario
    begin, end = scenario.warm, scenario.seconds
    came = [one for one in history.ended if one.came >= begin]
    good = sum(
        one.rows for one in history.ended if begin <= one.at < end and _in_time(one, scenario.slo)
    )
    asked = sum(one.rows for one in came) / (end - begin)
    latencies = np.array([one.at - one.came for one in came if one.fate is Fate.ANSWERED] or [0.0])
    told = [one.at - one.came for one in came if one.fate is not Fate.ANSWERED] or [0.0]
    rows = [rows for at, rows in history.batches if begin <= at < end] or [0]
    able = min(scenario.engine.capacity(begin, end), asked)
    return Figures(
        goodput=good / (end - begin) / able,
        p50=float(np.quantile(latencies, 0.5)) / scenario.slo,
        p99=float(np.quantile(latencies, 0.99)) / scenario.slo,
        refused=_share(came, Fate.REFUSED),
        dropped=_share(came, Fate.DROPPED, Fate.EXPIRED),
        late=float(np.mean(latencies > scenario.slo)),
        told=float(np.quantile(told, 0.99)) / scenario.slo,
        rows=float(np.mean(rows)),
        idle=history.idle / (scenario.engine.instances * scenario.seconds),
    )


def _in_time(one: Ended, slo: float) -> bool:
    return one.fate is Fate.ANSWERED and one.at - one.came <= slo


def _share(came: list[Ended], *fates: Fate) -> float:
    return sum(one.fate in fates for one in came) / max(1, len(came))
