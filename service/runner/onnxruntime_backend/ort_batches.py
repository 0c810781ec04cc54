# ruff: noqa: INP001 - Triton imports these files from a flat folder; they are no package
"""Merges requests into one run and hands each its own rows back. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Sequence[str], Arrays], Arrays]


@dataclass(frozen=True)
class Job:
    """One request: what it feeds and which outputs it asks for."""

    inputs: Arrays
    outputs: tuple[str, ...]

    @property
    def rows(self) -> int | None:
        """The size of the first axis, where the inputs agree on one."""
        sizes = {array.shape[0] if array.ndim else None for array in self.inputs.values()}
        return sizes.pop() if len(sizes) == 1 else None


def answer(jobs: Sequence[Job], run: Run, *, batching: bool) -> list[Arrays | Exception]:
    """Run the jobs in as few runs as can be: for each, in order, its outputs or what failed it.

    A failed run of several is repeated with each alone, so that none fails for another.
    """
    answers: dict[int, Arrays | Exception] = {}
    for members in _groups(jobs) if batching else [[i] for i in range(len(jobs))]:
        found = _merged(jobs, members, run) if len(members) > 1 else None
        if found is None:
            found = [_alone(jobs[i], run) for i in members]
        answers.update(zip(members, found, strict=True))
    return [answers[i] for i in range(len(jobs))]


def _groups(jobs: Sequence[Job]) -> list[list[int]]:
    """Which jobs can share a run: same inputs, datatypes and shapes but for the rows."""
    groups: dict[object, list[int]] = {}
    for i, job in enumerate(jobs):
        key: object = i
        if job.rows is not None:
            key = frozenset((n, a.dtype.str, a.shape[1:]) for n, a in job.inputs.items())
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def _merged(jobs: Sequence[Job], members: Sequence[int], run: Run) -> list[Arrays] | None:
    """The answers out of one run; None where it failed or its outputs have other rows."""
    names = jobs[members[0]].inputs
    wanted = list(dict.fromkeys(name for i in members for name in jobs[i].outputs))
    edges = np.cumsum([0, *(jobs[i].rows for i in members)])
    try:
        merged = {n: np.concatenate([jobs[i].inputs[n] for i in members]) for n in names}
        found = run(wanted, merged)
    except Exception:  # noqa: BLE001 - whatever it was, it comes again for its own request
        return None
    if any(array.shape[:1] != (edges[-1],) for array in found.values()):
        return None
    return [
        {name: found[name][start:stop] for name in jobs[i].outputs}
        for i, (start, stop) in zip(members, pairwise(edges), strict=True)
    ]


def _alone(job: Job, run: Run) -> Arrays | Exception:
    try:
        return run(job.outputs, job.inputs)
    except Exception as error:  # noqa: BLE001 - becomes this request's answer
        return error
