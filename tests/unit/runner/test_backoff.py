from __future__ import annotations

import pytest

from service.runner.backoff import Backoff


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (1, 0.2), (2, 0.4), (5, 3.2), (6, 6.4), (7, 10), (10**6, 10)]
)
def test_waits_double_up_to_the_most(failures: int, seconds: float) -> None:
    """The first failure waits 0.2 s, each further one twice as long, none more than 10 s."""
    assert Backoff().delay(failures) == pytest.approx(seconds)


def test_a_short_life_counts_on() -> None:
    """What dies again before it was stable has failed once more."""
    assert Backoff().failures(before=3, uptime=29.9) == 4


def test_a_stable_life_is_a_new_start() -> None:
    """What was up for 30 s fails for the first time again."""
    assert Backoff().failures(before=9, uptime=30) == 1
