"""The tabular regression: its generated data, its drift, its preprocessing and its training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import deliveries, delivery_eta
from models.deliveries import COLUMNS, by_rule, generate
from models.verify import run, session
from tests.committed import committed_model

QUIET = dict(zip(COLUMNS, (12.0, 4.0, 11.0, 2.0, 0.0, 5.0), strict=True))


def minutes(month: int = 0, **changed: float) -> float:
    row = np.array([list((QUIET | changed).values())])
    return float(by_rule(row, month)[0])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, 6 + 3.5 * 4 + 60 * 12 / 38),
        ({"hour": 8}, 6 + 3.5 * 4 + 60 * 12 / 22),
        ({"hour": 8, "weekday": 6}, 6 + 3.5 * 4 + 60 * 12 / 46),
        ({"weight_kg": 20}, 6 + 3.5 * 4 + 0.2 * 10 + 60 * 12 / 38),
        ({"rain_mm": 5}, 6 + 3.5 * 4 + 60 * 12 / (38 / 1.2)),
    ],
)
def test_rule(changed: dict[str, float], expected: float) -> None:
    """The rule is the documented one."""
    assert minutes(0, **changed) == pytest.approx(expected)


def test_drift_is_gradual_and_then_at_once() -> None:
    """Each month is a little slower, and from month 6 on each stop takes a minute longer."""
    months = [minutes(month) for month in range(8)]
    steps = np.diff(months)
    assert (steps > 0).all()
    doorbells = deliveries.DOORBELLS_FROM_MONTH
    assert steps[doorbells - 1] > 4
    assert max(np.delete(steps, doorbells - 1)) < 2
    assert generate(100, 1, month=7).minutes.mean() > generate(100, 1).minutes.mean()
    with pytest.raises(ValueError, match="month is -1"):
        generate(1, 1, month=-1)


def test_generated_twice_is_the_same() -> None:
    """The same seed and month give the same deliveries; nothing is shared between months."""
    first, again, later = generate(50, 3), generate(50, 3), generate(50, 3, month=1)
    assert np.array_equal(first.features, again.features)
    assert np.array_equal(first.minutes, again.minutes)
    assert not np.array_equal(first.features, later.features)


def test_loss_falls_after_one_step() -> None:
    """One step down the gradient lowers the loss on the same rows."""
    seen = generate(64, 1)
    torch.manual_seed(0)
    model = delivery_eta.Eta(seen).double()
    features, given = torch.from_numpy(seen.features), torch.from_numpy(seen.minutes)[:, None]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    before = delivery_eta.step(model, optimiser, features, given)
    assert delivery_eta.step(model, optimiser, features, given) < before


def test_preprocessing_is_undone_by_its_statistics() -> None:
    """Scaled features times spread plus middle are the prepared ones; an hour is on a circle."""
    seen = generate(200, 2)
    model = delivery_eta.Eta(seen).double()
    prepared = model.prepare(*torch.from_numpy(seen.features).split(1, dim=1))
    scaled = (prepared - model.middle) / model.spread
    assert torch.allclose(scaled * model.spread + model.middle, prepared)
    assert scaled.mean(dim=0).abs().max() < 1e-5
    assert torch.allclose(prepared[:, 2] ** 2 + prepared[:, 3] ** 2, torch.ones(200).double())


def test_serving_prepares_as_training_does() -> None:
    """Raw columns into the committed graph give what torch gives with its own preprocessing."""
    unseen = generate(64, 9)
    loaded = session(committed_model("delivery_eta"))
    served = run(loaded, delivery_eta.columns(unseen.features))["minutes"]
    assert served.shape == (64, 1)
    assert np.abs(served[:, 0] - unseen.minutes).mean() < 9
    one = {name: column[:1] for name, column in delivery_eta.columns(unseen.features).items()}
    assert run(loaded, one)["minutes"] == pytest.approx(served[:1], abs=1e-3)


def test_it_grows_wrong_as_the_months_pass() -> None:
    """The drift that is built in shows: half a year on, the model is off by much more."""
    loaded = session(committed_model("delivery_eta"))

    def off(month: int) -> float:
        later = generate(400, 21, month)
        given = run(loaded, delivery_eta.columns(later.features))["minutes"][:, 0]
        return float(np.abs(given - later.minutes).mean())

    assert off(0) < off(4) < off(7)
    assert off(7) > 2 * off(0)
