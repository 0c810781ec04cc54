"""What is made of py-spy's stacks."""

from __future__ import annotations

import pytest

from benchmarks.evidence.profile import shares

STACKS = [
    "run (asyncio/runners.py:118);_pump (queue.py:10);send (queue.py:20) 6",
    "run (asyncio/runners.py:118);_pump (queue.py:12) 2",
    "run (asyncio/runners.py:118);send (queue.py:21) 2",
    "wait (threading.py:300) 90",
]


def test_the_lines_of_a_function_are_one_and_other_threads_are_none() -> None:
    """Shares of the event loop's time."""
    own, within = shares(STACKS)
    assert own == {"send (queue.py)": 0.8, "_pump (queue.py)": 0.2}
    assert within["run (asyncio/runners.py)"] == 1.0
    assert within["_pump (queue.py)"] == 0.8


def test_without_an_event_loop_there_is_nothing_to_share() -> None:
    """The wrong process was watched."""
    with pytest.raises(ValueError, match="no sample"):
        shares(STACKS[-1:])
