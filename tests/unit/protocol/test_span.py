from __future__ import annotations

import re

import pytest

from service.protocol.span import Span, continued

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
STATE = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (f"00-{TRACE}-{PARENT}-01", "01"),  # the specification's examples
        (f"00-{TRACE}-{PARENT}-00", "00"),
        (f"00-{TRACE}-{PARENT}-03", "03"),
        (f"00-{TRACE}-{PARENT}-ff", "03"),  # unknown flags are not passed on
        (f"cc-{TRACE}-{PARENT}-01", "01"),  # a later version, as far as we know it
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", "01"),
    ],
)
def test_a_trace_is_continued_in_a_span_of_our_own(given: str, flags: str) -> None:
    """The same trace, a new parent, in the version that we know."""
    span = continued(given, STATE)
    assert span is not None
    (name, parent), state = span.context()
    found = re.fullmatch(rf"00-{TRACE}-([0-9a-f]{{16}})-{flags}", parent)
    assert name == "traceparent"
    assert found is not None
    assert found[1] == span.id not in (PARENT, "0" * 16)
    assert state == ("tracestate", STATE)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01-",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-0g",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}0-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00_{TRACE}_{PARENT}_01",
        f" 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
        f"cc-{TRACE}-{PARENT}-01.more",
        f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01",
    ],
)
def test_what_names_no_trace_is_ignored(given: str) -> None:
    """Nothing is guessed."""
    assert continued(given, STATE) is None


@pytest.mark.parametrize("state", ["", "a=\x00", "a=\n", "a=é", "a=" + "b" * 2047])
def test_a_tracestate_that_would_not_pass_is_dropped_alone(state: str) -> None:
    """The trace goes on without it: nothing in it may fail a run."""
    span = continued(f"00-{TRACE}-{PARENT}-01", state)
    assert span is not None
    assert [name for name, _ in span.context()] == ["traceparent"]


def test_a_span_without_a_trace_passes_nothing_on() -> None:
    """It is there for the access log alone."""
    assert Span().context() == ()
