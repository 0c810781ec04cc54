from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from service.batching.member import Batch
from service.simulator.engine import Engine, EngineModel


def engine(model: EngineModel) -> Engine:
    """With the same random numbers each time."""
    return Engine(model, np.random.default_rng(1))


def test_a_run_takes_what_its_rows_take() -> None:
    """Noise has the mean 1."""
    model = EngineModel(fixed=0.01, each=0.001, rows=8, noise=0.3)
    found = engine(model)
    took = [found.seconds(8, 0.0) for _ in range(4000)]
    assert np.mean(took) == pytest.approx(model.mean(8), rel=0.03)
    assert np.std(took) > 0.002


def test_first_runs_of_a_cold_engine_are_slow() -> None:
    """So many, so many times."""
    found = engine(EngineModel(fixed=0.01, each=0.0, rows=1, noise=0.0, cold=(2, 50.0)))
    assert [found.seconds(1, 0.0) for _ in range(3)] == pytest.approx([0.5, 0.5, 0.01])


def test_a_stall_holds_up_what_runs_and_what_would_begin() -> None:
    """Until it is over."""
    found = engine(EngineModel(fixed=1.0, each=0.0, rows=1, noise=0.0, stalls=((5.0, 2.0),)))
    assert [found.seconds(1, at) for at in (3.0, 4.5, 6.0, 7.0)] == pytest.approx(
        [1.0, 3.0, 2.0, 1.0]
    )


def test_a_drift_halves_the_capacity_from_then_on() -> None:
    """Stalls take away what they last."""
    model = EngineModel(fixed=0.0, each=0.01, rows=4, instances=2)
    assert model.capacity(0.0, 10.0) == pytest.approx(200)
    slower = replace(model, drift=(5.0, 2.0))
    assert slower.capacity(0.0, 10.0) == pytest.approx(150)
    assert slower.capacity(5.0, 10.0) == pytest.approx(100)
    assert engine(slower).seconds(1, 5.0) > 1.2 * engine(model).seconds(1, 5.0)


def test_instances_compute_at_once_and_the_rest_waits_in_order() -> None:
    """As many batches as there are instances."""
    found = engine(EngineModel(fixed=1.0, each=0.0, rows=1, instances=2))
    batches = [Batch((), 1, None) for _ in range(4)]
    assert [found.take(batch) for batch in batches] == [*batches[:2], None, None]
    assert [found.end() for _ in range(3)] == [*batches[2:], None]
    assert found.free == 1
