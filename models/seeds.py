"""What a model reaches from several seeds: one is luck."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from models.specification import Build, Builder

COUNT = 5


def report(
    builder: Builder, first: Build, count: int = COUNT, told: Callable[[int], None] | None = None
) -> dict[str, Any] | None:
    """Each metric over several seeds: mean, spread (standard deviation of the sample) and values.

    Args:
        builder: of the model.
        first: what it made out of its own seed; without metrics there is nothing to report.
        count: seeds, its own among them; at least 2.
        told: is called with each seed before it is tried.
    """
    if not first.metrics:
        return None
    own = int(first.facts["seed"])
    values: dict[str, dict[str, float]] = {
        name: {str(own): value} for name, value in first.metrics.items()
    }
    for seed in range(own + 1, own + count):
        if told is not None:
            told(seed)
        for name, value in builder.build(seed).metrics.items():
            values[name][str(seed)] = value
    return {
        name: {
            "mean": round(statistics.mean(by_seed.values()), 4),
            "spread": round(statistics.stdev(by_seed.values()), 4),
            "by_seed": by_seed,
        }
        for name, by_seed in values.items()
    }
