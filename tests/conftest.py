"""What is started once for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.harness.registry import registry


@pytest.fixture(scope="session")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow, empty at first: each test registers models of its own, and syncs those."""
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started
