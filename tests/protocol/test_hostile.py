"""The table of bad requests that `make evidence-hostile-http` fires, here at a worker in process.

Without the endless and the slow ones' full length: limits are small, and every case is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from benchmarks.hostile import exchange, repository, table
from tests.serving import Serving, serving, settings

MAX_BODY = 2 << 20
CASES = list(table.cases(MAX_BODY))


@pytest.fixture(scope="module", params=["echo", "onnx"])
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """A gateway with small limits and short patience."""
    models = repository.build(tmp_path_factory.mktemp("models"))
    limits = {"max_body_bytes": MAX_BODY, "header_seconds": 0.5, "body_idle_seconds": 0.5}
    chosen = settings(models, request.param, server=limits)
    with serving(chosen, tmp_path_factory.mktemp("run")) as gateway:
        yield gateway


@pytest.mark.parametrize("category", sorted({case.category for case in CASES}))
def test_bad_requests_get_a_reason_and_good_ones_their_answer(
    target: Serving, category: str
) -> None:
    """Each is refused by a 4xx that says why, and the good request right after it is served."""
    address = (target.host, target.port)
    served = exchange.ask(address)
    assert b'"data":[1.0,2.0,3.0]' in served
    faults = []
    for case in CASES:
        if case.category == category:
            outcome = exchange.fire(address, case)
            if outcome.fault:
                faults.append(f"{case.name}: {outcome.fault}")
            if exchange.ask(address) != served:
                faults.append(f"{case.name}: the good request after it was not served")
    assert not faults


def test_the_table_is_as_large_as_promised() -> None:
    """At least 300 requests, and no name twice."""
    assert len(CASES) >= 300
    assert Counter((case.category, case.name) for case in CASES).most_common(1)[0][1] == 1
