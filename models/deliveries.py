"""Made-up deliveries of a parcel carrier, month by month: the data that `delivery_eta` learns.

A tour leaves a depot with `stops` parcels before this one, `distance_km` to drive. Minutes until
the parcel is handed over:

    6 + 3.5 * stops + 0.2 * max(weight_kg - 10, 0) + 60 * distance_km / speed

where `speed` in km/h is 46 on weekends (weekday 5 and 6), 22 in the rush hours (7 to 9 and 16 to
18) and 38 otherwise, divided by 1 + 0.04 * rain_mm, and all of it times a log-normal factor of 8 %.

**Drift.** From one month to the next traffic gets denser: speed falls by 2 %. And from month 6 on
the carrier rings at the door instead of leaving parcels: each stop takes a minute longer. So what
was learned from month 0 grows wrong, gradually and then at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

COLUMNS = ("distance_km", "stops", "hour", "weekday", "rain_mm", "weight_kg")
SLOWER_A_MONTH = 0.02
DOORBELLS_FROM_MONTH = 6

_NOISE = 0.08
_RAINY = 0.3  # the share of deliveries in the rain
_SATURDAY = 5
_RUSH = ((7, 9), (16, 18))


@dataclass(frozen=True, slots=True)
class Deliveries:
    """`features` FP64 [n, 6] in the order of `COLUMNS`; `minutes` FP64 [n]."""

    features: np.ndarray[Any, Any]
    minutes: np.ndarray[Any, Any]


def generate(count: int, seed: int, month: int = 0) -> Deliveries:
    """Deliveries of a month; the same arguments give the same ones.

    Args:
        count: how many.
        seed: of everything that is drawn.
        month: 0 is what `delivery_eta` is trained on; later ones have drifted.

    Raises:
        ValueError: `month` is negative.
    """
    if month < 0:
        raise ValueError(f"month is {month}: months count from 0")
    draw = np.random.default_rng((seed, month))
    features = np.column_stack(
        [
            np.round(draw.gamma(2.2, 6.0, count) + 0.3, 1),
            draw.integers(0, 25, count),
            draw.integers(6, 21, count),
            draw.integers(0, 7, count),
            np.where(draw.random(count) < _RAINY, np.round(draw.exponential(2.0, count), 1), 0.0),
            np.round(draw.gamma(1.5, 5.0, count) + 0.1, 1),
        ]
    ).astype(np.float64)
    noise = np.exp(draw.normal(0.0, _NOISE, count))
    return Deliveries(features, np.round(by_rule(features, month) * noise, 1))


def by_rule(features: np.ndarray[Any, Any], month: int = 0) -> np.ndarray[Any, Any]:
    """Minutes FP64 [n] of features [n, 6] by the documented rule, without the noise."""
    distance, stops, hour, weekday, rain, weight = features.T
    rush = np.any([(hour >= first) & (hour <= last) for first, last in _RUSH], axis=0)
    speed = np.where(weekday >= _SATURDAY, 46.0, np.where(rush, 22.0, 38.0))
    speed = speed * (1 - SLOWER_A_MONTH) ** month / (1 + 0.04 * rain)
    a_stop = 3.5 + (month >= DOORBELLS_FROM_MONTH)
    return np.asarray(6 + a_stop * stops + 0.2 * np.maximum(weight - 10, 0) + 60 * distance / speed)
