"""The table of bad calls that `make evidence-hostile-grpc` fires, here at a worker in process.

Limits are small, and the tricks upon HTTP/2 stay with the evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.hostile import grpc_methods, grpc_repository, grpc_table
from benchmarks.hostile.grpc_case import Case
from benchmarks.hostile.grpc_exchange import Exchange, questions
from benchmarks.hostile.grpc_messages import goods
from tests.serving import serving, settings

MAX_MESSAGE = 2 << 20
CASES = list(grpc_table.cases(MAX_MESSAGE))


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """Connections to a gateway with small limits."""
    models = grpc_repository.build(tmp_path_factory.mktemp("models"))
    chosen = settings(models, "onnx", server={"max_body_bytes": MAX_MESSAGE})
    with serving(chosen, tmp_path_factory.mktemp("run")) as gateway:
        host, _, port = gateway.grpc_address.rpartition(":")
        connected = Exchange((host, int(port)))
        yield connected
        connected.close()


def test_the_messages_that_are_spoilt_are_good(exchange: Exchange) -> None:
    """So that each case is refused for what was spoilt, and not for another reason."""
    answers = {name: exchange.answer(*good) for name, good in goods().items()}
    assert set(answers.values()) == {""}, answers


@pytest.mark.parametrize("category", sorted({case.category for case in CASES}))
def test_bad_calls_get_a_reason_and_good_ones_their_answer(
    exchange: Exchange, category: str
) -> None:
    """Each is refused by a status that says why, and the good request right after it is served."""

    def fault(case: Case) -> str:
        found = exchange.fire(case).fault
        served = "" if exchange.ask() else "the good request after it was not served"
        return " ".join(filter(None, [found, served]))

    cases = [case for case in CASES if case.category == category]
    with ThreadPoolExecutor(8) as pool:  # gRPC's core takes its time over broken headers
        faults = dict(zip((case.name for case in cases), pool.map(fault, cases), strict=True))
    assert not {name: fault for name, fault in faults.items() if fault}


def test_a_bad_message_on_a_stream_harms_none_of_the_others(exchange: Exchange) -> None:
    """It is answered by an error with its id; those before and behind it by their outputs."""
    some = list(questions(CASES))[::5]  # the evidence takes all
    faults = {f"{c.category}, {c.name}": exchange.on_stream(c) for c in some}
    assert not {name: fault for name, fault in faults.items() if fault}


def test_the_reflection_tells_what_it_cannot_find(exchange: Exchange) -> None:
    """A question without an answer gets an error, and not the end of the call."""
    faults = {n: exchange.reflect(q) for n, q in grpc_methods.reflections().items()}
    assert not {name: fault for name, fault in faults.items() if fault}


def test_the_table_is_as_large_as_promised() -> None:
    """At least 300 calls, and no name twice."""
    assert len(CASES) >= 300
    assert Counter((case.category, case.name) for case in CASES).most_common(1)[0][1] == 1
