"""One gateway as users start it, for all tests that only call it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.harness.gateway import Running, gateway
from tests.patient import patient_repository
from tests.requires import require_triton_runtime


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`lupine serve` on the committed models, their SLOs patient: managed Triton, two workers."""
    require_triton_runtime()
    names = ("delivery_eta", "digits", "magika", "parcel_router")
    repository = patient_repository(tmp_path_factory.mktemp("repository"), *names)
    flags = ("--engine", "triton", "--workers", "2", "--repository", str(repository))
    with gateway(*flags) as started:
        yield started
