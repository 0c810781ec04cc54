"""Merging inside the Triton backend: runs are counted here, where Triton counts only its calls."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import service.runner

_FILE = Path(service.runner.__file__).parent / "onnxruntime_backend" / "ort_batches.py"


@pytest.fixture(scope="module")
def batches() -> ModuleType:
    """The module, loaded from its file as the stub does: its folder is no package."""
    spec = importlib.util.spec_from_file_location("ort_batches", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Doubling:
    """A model that counts its runs: `double` and `echo` of `x`; refuses what holds a negative."""

    def __init__(self) -> None:
        self.runs: list[tuple[tuple[str, ...], tuple[int, ...]]] = []

    def __call__(
        self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Run once."""
        x = inputs["x"]
        self.runs.append((tuple(outputs), x.shape))
        if (x < 0).any():
            raise ValueError(f"{x.min()} is negative")
        return {name: x * 2 if name == "double" else x for name in outputs}


def _rows(*values: float, width: int = 2, dtype: type = np.float32) -> dict[str, Any]:
    return {"x": np.repeat(np.array([values], dtype).T, width, axis=1)}


def test_one_run_for_all(batches: ModuleType) -> None:
    """Jobs alike in all but rows and outputs share a run; each gets its own, and only those."""
    model = Doubling()
    jobs = [
        batches.Job(_rows(1), ("double",)),
        batches.Job(_rows(2, 3), ("echo",)),
        batches.Job(_rows(4), ("echo", "double")),
    ]
    first, second, third = batches.answer(jobs, model, batching=True)
    assert model.runs == [(("double", "echo"), (4, 2))]
    assert first.keys() == {"double"}
    assert first["double"].tolist() == [[2, 2]]
    assert second["echo"].tolist() == [[2, 2], [3, 3]]
    assert third["double"].tolist() == [[8, 8]]


@pytest.mark.parametrize("other", [_rows(2, width=3), _rows(2, dtype=np.float64)])
def test_other_shapes_and_datatypes_run_apart(batches: ModuleType, other: dict[str, Any]) -> None:
    """What cannot be concatenated without a change is not."""
    model = Doubling()
    jobs = [batches.Job(_rows(1), ("echo",)), batches.Job(other, ("echo",))]
    answers = batches.answer(jobs, model, batching=True)
    assert len(model.runs) == 2
    assert [a["echo"].dtype for a in answers] == [np.float32, other["x"].dtype]


def test_nothing_is_merged_without_a_batch_axis(batches: ModuleType) -> None:
    """For max_batch_size 0 the first axis belongs to the model."""
    model = Doubling()
    jobs = [batches.Job(_rows(i), ("echo",)) for i in range(3)]
    batches.answer(jobs, model, batching=False)
    assert len(model.runs) == 3


def test_a_failed_run_is_repeated_apart(batches: ModuleType) -> None:
    """Only the job at fault gets the error; the others' answers are right."""
    model = Doubling()
    jobs = [batches.Job(_rows(i), ("echo",)) for i in (1, -5, 2)]
    first, second, third = batches.answer(jobs, model, batching=True)
    assert len(model.runs) == 4
    assert str(second) == "-5.0 is negative"
    assert [first["echo"][0, 0], third["echo"][0, 0]] == [1, 2]


def test_outputs_that_lost_the_rows_are_not_cut(batches: ModuleType) -> None:
    """When a merged output has other rows than went in, nobody is handed a wrong share."""

    def total(outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: inputs["x"].sum(axis=0, keepdims=True) for name in outputs}

    jobs = [batches.Job(_rows(i), ("total",)) for i in (1, 2)]
    first, second = batches.answer(jobs, total, batching=True)
    assert [first["total"].tolist(), second["total"].tolist()] == [[[1, 1]], [[2, 2]]]
