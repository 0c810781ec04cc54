"""The parcel router: the rule of its generated data, and the model that learned it."""

from __future__ import annotations

import numpy as np
import pytest

from models import parcel_router
from models.parcel_router import ROUTES, by_rule
from models.verify import run, session
from tests.committed import committed_model


@pytest.mark.parametrize(
    ("destination", "weight_kg", "route"),
    [
        ("DE", 31.5, "courier"),
        ("DE", 31.6, "freight"),
        ("MT", 10.0, "air"),
        ("MT", 10.1, "road"),
        ("MT", 40.0, "freight"),
        ("FR", 0.1, "road"),
    ],
)
def test_rule(destination: str, weight_kg: float, route: str) -> None:
    """The rule that the module documents decides at its limits as it says."""
    assert by_rule(destination, weight_kg) == route


def test_seeded_twice_generates_and_learns_alike() -> None:
    """The same seed gives the same parcels and the same trees."""
    rows, routes = parcel_router.parcels(500, 3)
    again, routes_again = parcel_router.parcels(500, 3)
    assert rows.tolist() == again.tolist()
    assert routes.tolist() == routes_again.tolist()
    first = parcel_router.train(rows, routes).predict_proba(rows)
    assert np.array_equal(first, parcel_router.train(rows, routes).predict_proba(rows))


def test_committed_model_learned_the_rule() -> None:
    """On parcels it never saw, the committed model names the rule's route nearly always."""
    rows, _ = parcel_router.parcels(2_000, 99)
    answers = run(session(committed_model("parcel_router")), parcel_router.tensors(rows))
    expected = [by_rule(*row).encode() for row in rows]
    assert answers["route"].shape == (2_000, 1)
    assert (
        np.mean([got == want for got, want in zip(answers["route"].ravel(), expected, strict=True)])
        > 0.99
    )
    assert answers["probabilities"].sum(axis=1) == pytest.approx(1.0, abs=1e-4)


def test_route_is_the_likeliest() -> None:
    """The columns of `probabilities` are in the order of `ROUTES`, and the route is the highest."""
    rows, _ = parcel_router.parcels(200, 7)
    answers = run(session(committed_model("parcel_router")), parcel_router.tensors(rows))
    likeliest = [ROUTES[column].encode() for column in answers["probabilities"].argmax(axis=1)]
    assert answers["route"].ravel().tolist() == likeliest
