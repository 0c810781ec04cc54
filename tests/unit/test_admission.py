from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.admission import Admission
from service.errors import ShedError


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
                assert len(out[name]) == 3 or total == 6
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
