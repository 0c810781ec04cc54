"""How the requests of a mix are accounted for while processes are killed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.mixed.account import Account, End, how
from benchmarks.wires.exchange import Fate, Outcome, Request, Response

REQUEST = Request("7", "m", {}, {"y": np.array([[1.0]], np.float32)})


def answer(identity: str = "7", value: float = 1.0) -> Outcome:
    """An answer with one output."""
    outputs = {"y": np.array([[value]], np.float32)}
    return Outcome(Fate.ANSWERED, "200", response=Response(identity, outputs))


REFUSED = Outcome(Fate.REFUSED, "503", "503: Triton is not running")
CUT_OFF = Outcome(Fate.LOST, "lost", "closed before the answer")


@pytest.mark.parametrize(
    ("outcome", "end"),
    [
        (answer(), End.RIGHT),
        (answer(value=2.0), End.WRONG),
        (answer(identity="8"), End.WRONG),
        (REFUSED, End.REFUSED),
        (Outcome(Fate.FAILED, "UNAVAILABLE", "Triton is not available"), End.REFUSED),
        (Outcome(Fate.FAILED, "error_message", "Triton is not running: …"), End.REFUSED),
        (Outcome(Fate.FAILED, "error_message", "model 'digits' is busy: after …"), End.REFUSED),
        (Outcome(Fate.FAILED, "error_message", "the engine failed"), End.FAILED),
        (Outcome(Fate.LOST, "UNAVAILABLE", "UNAVAILABLE: Connection reset by peer"), End.CUT_OFF),
        (
            Outcome(Fate.LOST, "UNAVAILABLE", "Triton is not available: Connection reset by peer"),
            End.REFUSED,
        ),
        (Outcome(Fate.FAILED, "503", "503 without Retry-After"), End.FAILED),
        (Outcome(Fate.FAILED, "500", "500: the engine failed"), End.FAILED),
        (CUT_OFF, End.CUT_OFF),
        (Outcome(Fate.UNSENT, "connection refused", "connection refused"), End.CUT_OFF),
        (Outcome(Fate.LOST, "hung", "no answer within 60 s"), End.HUNG),
    ],
)
def test_each_end_has_its_name(outcome: Outcome, end: End) -> None:
    """An answer is right only with its own id and the reference's values."""
    assert how(REQUEST, outcome) is end


@pytest.mark.parametrize("outcome", [answer(value=2.0), answer(identity="8")])
def test_a_swapped_answer_is_a_fault_however_much_is_excused(outcome: Outcome) -> None:
    """No killed process explains it."""
    account = Account()
    account.add(0.0, 1.0, REQUEST, outcome, excused=True)
    assert len(account.faults) == 1
    assert "wrong: m, request 7" in account.faults[0]


def test_only_a_killed_worker_excuses_a_connection_that_was_cut_off() -> None:
    """Right answers and refusals need no excuse."""
    account = Account()
    for outcome in (answer(), REFUSED):
        account.add(0.0, 1.0, REQUEST, outcome, excused=False)
    account.add(0.0, 1.0, REQUEST, CUT_OFF, excused=True)
    assert not account.faults
    account.add(0.0, 1.0, REQUEST, CUT_OFF, excused=False)
    assert account.faults == ["cut off: m, request 7: closed before the answer"]
    assert account.ends() == {("m", End.RIGHT): 1, ("m", End.REFUSED): 1, ("m", End.CUT_OFF): 2}


def test_the_time_without_a_right_answer_counts_from_the_kill_to_the_end() -> None:
    """Refusals end no gap."""
    account = Account()
    for ended, outcome in ((9.0, answer()), (11.0, REFUSED), (13.0, answer()), (14.0, answer())):
        account.add(ended - 0.1, ended, REQUEST, outcome, excused=False)
    assert account.without_right(10.0, 15.0) == 3.0
    assert account.without_right(20.0, 25.0) == 5.0


def test_a_model_is_back_with_the_first_request_after_the_kill_that_it_answers() -> None:
    """An answer to one from before it says nothing, and a model that stays away never is."""
    account = Account()
    account.add(9.9, 10.5, REQUEST, answer(), excused=False)
    account.add(11.0, 12.0, REQUEST, answer(), excused=False)
    assert account.back(["m"], 10.0) == 2.0
    assert account.back(["m", "other"], 10.0) == math.inf
