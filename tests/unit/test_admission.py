from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.admission import Admission, Promise, check
from service.batching.schedule import Forecast
from service.errors import DeadlineError, ShedError


def _fail_inside(admission: Admission) -> None:
    with admission.permit("m"):
        assert admission.inflight == 1
        raise RuntimeError


def test_a_permit_is_out_until_its_block_ends() -> None:
    """Also where it ends by an exception."""
    admission = Admission(per_model=1, total=1)
    with pytest.raises(RuntimeError):
        _fail_inside(admission)
    assert admission.inflight == 0
    with admission.permit("m"):
        assert admission.inflight == 1


def test_a_model_at_its_limit_is_shed_and_others_are_not() -> None:
    """One busy model does not close the door to the rest."""
    admission = Admission(per_model=2, total=10)
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(admission.permit("busy"))
        with pytest.raises(ShedError) as refused:
            held.enter_context(admission.permit("busy"))
        held.enter_context(admission.permit("calm"))
        assert admission.inflight == 3
    assert refused.value.reason == "permits"
    assert refused.value.retry_after
    assert "'busy' has 2 requests in flight" in refused.value.message


def test_all_models_together_are_bounded() -> None:
    """However many models there are."""
    admission = Admission(per_model=2, total=3)
    with ExitStack() as held:
        for name in "abc":
            held.enter_context(admission.permit(name))
        with pytest.raises(ShedError, match="the gateway has 3 requests in flight"):
            held.enter_context(admission.permit("d"))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_the_count_is_that_of_the_permits_out(steps: list[tuple[str, bool]]) -> None:
    """After any takings and givings back, and never over a limit."""
    admission = Admission(per_model=3, total=6)
    out: dict[str, list[ExitStack]] = {name: [] for name in "abc"}
    for name, take in steps:
        if take:
            stack = ExitStack()
            total = sum(map(len, out.values()))
            try:
                stack.enter_context(admission.permit(name))
            except ShedError:
                others = total - len(out[name])
                assert len(out[name]) == 3 or total == 6 or (others and len(out[name]) > 6 - total)
            else:
                assert len(out[name]) < 3
                assert total < 6
                out[name].append(stack)
        elif out[name]:
            out[name].pop().close()
        assert admission.inflight == sum(map(len, out.values()))


def test_models_without_permits_leave_nothing_behind() -> None:
    """Names that come and go do not add up."""
    admission = Admission(per_model=1, total=1)
    for i in range(1000):
        with admission.permit(f"m{i}"):
            pass
    assert not admission._out


def test_a_busy_model_leaves_room_for_another() -> None:
    """Of what is free it gets less, the more it has; one that is alone may have it all."""
    admission = Admission(per_model=10, total=10)
    with ExitStack() as held:
        held.enter_context(admission.permit("calm"))
        for _ in range(5):
            held.enter_context(admission.permit("busy"))
        with pytest.raises(ShedError, match="'busy' has 5 of the gateway's 10") as refused:
            held.enter_context(admission.permit("busy"))
        for _ in range(2):
            held.enter_context(admission.permit("calm"))
    assert refused.value.reason == "share"
    with ExitStack() as held:
        for _ in range(10):
            held.enter_context(admission.permit("alone"))


# ------------------------------------------------------------------ what can still be met


def test_what_nobody_promised_is_never_refused() -> None:
    """It waits as long as it takes."""
    check("m", Promise(), Forecast(1e6, 1.0, 0.5))


def test_what_would_be_in_time_but_for_the_queue_is_shed() -> None:
    """With the seconds after which asking again makes sense."""
    check("m", Promise(slo=0.1), Forecast(0.03, 0.04, 0.04))
    with pytest.raises(ShedError, match=r"its SLO leaves 0.100 s") as refused:
        check("m", Promise(slo=0.1), Forecast(3.04, 0.04, 0.04))
    assert refused.value.reason == "late"
    assert refused.value.retry_after == pytest.approx(3.0)
    with pytest.raises(ShedError, match=r"its deadline leaves 0.050 s"):
        check("m", Promise(deadline=0.05, slo=0.1), Forecast(0.03, 0.02, 0.02))


def test_a_deadline_shorter_than_the_model_takes_alone_is_late_whatever_waits() -> None:
    """Asking again would not help: it is not the queue's fault."""
    for wait in (0.0, 1.0):
        with pytest.raises(DeadlineError, match=r"takes 0.200 s unloaded"):
            check("m", Promise(deadline=0.1), Forecast(wait, 0.3, 0.2))


def test_an_idle_engine_is_never_refused_for_its_slo() -> None:
    """An SLO is no deadline; and nothing is learned of a model that nobody may ask."""
    check("m", Promise(slo=0.1), Forecast(0.0, 0.2, 0.2))


def test_what_is_only_usually_too_slow_for_a_deadline_is_tried_while_the_engine_is_idle() -> None:
    """Some runs were fast enough, and only by trying can the others be forgotten."""
    check("m", Promise(deadline=0.1), Forecast(0.0, 2.0, 0.09))
    with pytest.raises(ShedError, match=r"its deadline leaves 0.100 s"):
        check("m", Promise(deadline=0.1), Forecast(0.01, 2.0, 0.09))


def test_who_cannot_be_served_now_is_told_whether_the_queue_is_to_blame() -> None:
    """By what it usually takes alone: asking again helps only where that is in time."""
    with pytest.raises(DeadlineError, match=r"takes 0.120 s unloaded"):
        check("m", Promise(deadline=0.1), Forecast(0.01, 0.5, 0.0, alone=0.12))
    with pytest.raises(ShedError, match=r"its deadline leaves 0.100 s"):
        check("m", Promise(deadline=0.1), Forecast(0.01, 0.5, 0.0, alone=0.08))
    check("m", Promise(deadline=0.1), Forecast(0.0, 0.5, 0.0, alone=0.12))
