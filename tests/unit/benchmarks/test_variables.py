from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.load import variables


@pytest.mark.parametrize("quick", [False, True])
def test_locust_is_told_of_this_run_alone(quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    """What an outer benchmark was told does not reach it; everything else does."""
    monkeypatch.setenv(variables.SLA_VARIABLE, "another.toml")
    monkeypatch.setenv(variables.QUICK_VARIABLE, "1")
    monkeypatch.setenv("LUPINE_OTHER", "kept")
    found = variables.environment(Path("mine.toml"), quick=quick)
    assert found[variables.SLA_VARIABLE] == "mine.toml"
    assert (variables.QUICK_VARIABLE in found) == quick
    assert found["LUPINE_OTHER"] == "kept"
