from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.policy import (
    AGE,
    DEADLINE,
    FULL,
    IDLE_ENGINE,
    LEAD,
    REASONS,
    Limits,
    Moment,
    release,
)

LIMITS = Limits(rows=8, in_flight=3, eager=2, age=0.05)


def at(**more: float) -> Moment:
    """One row waits behind one batch, of which 30 ms are left, and nothing was promised."""
    given = {"rows": 1, "age": 0.0, "left": math.inf, "in_flight": 1, "busy": 0.03, "cost": 0.01}
    given |= more
    return Moment(**{"more": False} | given)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_an_idle_engine_gets_what_there_is_at_once(rows: int) -> None:
    """No batch waits to become larger."""
    assert release(at(rows=rows, in_flight=0, busy=0.0), LIMITS) == IDLE_ENGINE


def test_an_engine_that_has_all_it_may_have_gets_nothing_more() -> None:
    """However full, old or urgent: only the end of a batch changes that."""
    assert release(at(rows=8, age=9.0, left=0.0, in_flight=3), LIMITS) == math.inf


def test_only_a_full_batch_goes_ahead_of_a_busy_engine_s_next() -> None:
    """One more is ready when the engine is; what is not full yet still gathers."""
    assert release(at(rows=7, age=9.0, left=0.0, in_flight=2), LIMITS) == math.inf
    assert release(at(rows=8, in_flight=2), LIMITS) == FULL


def test_a_full_batch_waits_for_no_company() -> None:
    """It is as cheap as it can be."""
    assert release(at(rows=8), LIMITS) == FULL
    assert release(at(rows=6, more=True), LIMITS) == FULL  # the next would not fit


def test_behind_a_busy_engine_a_batch_gathers_until_the_engine_is_almost_free() -> None:
    """Leaving earlier it would be smaller, and not be computed earlier."""
    assert release(at(), LIMITS) == pytest.approx(0.03 - LEAD)
    assert release(at(busy=LEAD), LIMITS) == IDLE_ENGINE


def test_a_batch_leaves_before_a_promise_is_broken() -> None:
    """The engine's own queue is the place from which it is computed first."""
    assert release(at(left=0.045), LIMITS) == pytest.approx(0.045 - 0.03 - 0.01 - LEAD)
    assert release(at(left=0.04), LIMITS) == DEADLINE


def test_nobody_is_held_back_longer_than_the_limit() -> None:
    """An estimate may be wrong."""
    assert release(at(busy=1.0), LIMITS) == pytest.approx(0.05)
    assert release(at(busy=1.0, age=0.05), LIMITS) == AGE


def test_an_engine_of_which_nothing_is_known_is_given_what_there_is() -> None:
    """Nothing is learned by waiting."""
    assert release(at(busy=0.0, cost=0.0), LIMITS) == IDLE_ENGINE


NUMBERS = st.floats(0, 10)


@given(
    st.integers(1, 8), st.booleans(), NUMBERS, st.floats(-10, 10) | st.just(math.inf),
    st.integers(0, 4), NUMBERS, NUMBERS,
)  # fmt: skip
def test_it_is_always_decided(  # noqa: PLR0917 - all that there is
    rows: int,
    more: bool,  # noqa: FBT001 - drawn
    age: float,
    left: float,
    in_flight: int,
    busy: float,
    cost: float,
) -> None:
    """A reason, or a wait that ends; an idle engine never waits."""
    found = release(Moment(rows, more, age, left, in_flight, busy, cost), LIMITS)
    if isinstance(found, str):
        assert found in REASONS
        assert in_flight < LIMITS.in_flight
    else:
        assert found > 0
        assert in_flight > 0
        assert found <= LIMITS.age or in_flight >= LIMITS.eager
