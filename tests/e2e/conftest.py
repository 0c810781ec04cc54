"""One gateway as users start it, for all tests that only call it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.harness.gateway import Running, gateway
from tests.requires import require_triton_runtime


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    """`lupine serve` on the committed repository: managed Triton, two workers."""
    require_triton_runtime()
    with gateway("--engine", "triton", "--workers", "2") as started:
        yield started
