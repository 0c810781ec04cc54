"""The suites of tests of behaviour, as data: what a model must go on doing.

For a model `digits` it is

- `models/golden/digits.json`: golden cases, recorded from the authors' own code;
- `models/behaviour/digits.jsonl`: further cases, a line each: a name, `inputs`, and the right
  `outputs` in the protocol's JSON form (so a request and its answer, put together, are a line), or
  only the place of the largest value, `"argmax": {"logits": [1]}`;
- `models/behaviour/digits.toml`: invariances (a change that must not matter), directions (a change
  that must move the answer one way) and least metrics on `models/held_out/digits.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from models import golden, manifest
from models.changes import Change
from models.metrics import METRICS
from models.specification import Case, ModelError

FOLDER = Path(__file__).parent / "behaviour"


class Keeps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a change must leave as it was: the largest output's place, or every value."""

    output: str
    argmax: bool = False
    within: float | None = None  # None: the model's own tolerance


class Moves(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a change must move an output, in each row: up, or down, by at least so much."""

    output: str
    up: float | None = None
    down: float | None = None
    column: int = 0


class Invariance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of the inputs that must not change the answer."""

    name: str
    change: Change
    keeps: Keeps
    cases: list[str] | None = None  # names of golden cases; None: all of them


class Direction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of the inputs that must move the answer one way."""

    name: str
    change: Change
    moves: Moves
    cases: list[str] | None = None


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model must reach on held-out data."""

    name: str
    metric: str  # of `models.metrics`
    output: str
    at_least: float | None = None
    at_most: float | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    invariance: list[Invariance] = []
    direction: list[Direction] = []
    metric: list[Metric] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """All that one model is held to."""

    model: str
    tolerance: float
    max_batch_size: int
    golden: Sequence[Case]
    cases: Sequence[Case]
    invariances: Sequence[Invariance]
    directions: Sequence[Direction]
    metrics: Sequence[Metric]
    held_out: Case | None


def load(name: str, folder: Path = FOLDER) -> Suite:
    """The committed suite of a model.

    Raises:
        ModelError: a file is missing, or says what nobody understands, and where.
    """
    known = manifest.load(name)
    path = folder / f"{name}.toml"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{name!r} has no suite: {path.name} is expected in {folder}") from None
    try:
        file = msgspec.toml.decode(text, type=_File)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ModelError(f"{path.name}: {error}") from None
    suite = Suite(
        model=name,
        tolerance=known["tolerance"],
        max_batch_size=known["max_batch_size"],
        golden=golden.load(name),
        cases=tuple(read_lines(folder / f"{name}.jsonl")),
        invariances=file.invariance,
        directions=file.direction,
        metrics=file.metric,
        held_out=golden.load_held_out(name),
    )
    for problem in _problems(suite, known):
        raise ModelError(f"{path.name}: {problem}")
    return suite


def read_lines(path: Path) -> Iterator[Case]:
    """The cases of a file of lines; none where there is no file.

    Raises:
        ModelError: a line is no case, by its number.
    """
    if not path.is_file():
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield golden.case_of(json.loads(line))
        except (json.JSONDecodeError, KeyError, ModelError) as error:
            raise ModelError(f"{path.name}, line {number}: {error}") from None


def _problems(suite: Suite, known: dict[str, Any]) -> Iterator[str]:
    """What a suite asks for that is not there: a name that was mistyped must not pass unseen."""
    inputs = {tensor["name"] for tensor in known["inputs"]}
    outputs = {tensor["name"] for tensor in known["outputs"]}
    there = {case.name for case in suite.golden}
    changing: list[Invariance | Direction] = [*suite.invariances, *suite.directions]
    for one in changing:
        if one.change.input not in inputs:
            yield f"{one.name!r} changes the input {one.change.input!r}: there are {sorted(inputs)}"
        for name in set(one.cases or ()) - there:
            yield f"{one.name!r} names the golden case {name!r}: there are {sorted(there)}"
    looked_at = [(one.name, one.keeps.output) for one in suite.invariances]
    looked_at += [(one.name, one.moves.output) for one in suite.directions]
    looked_at += [(one.name, one.output) for one in suite.metrics]
    for name, output in looked_at:
        if output not in outputs:
            yield f"{name!r} looks at the output {output!r}: there are {sorted(outputs)}"
    yield from _undecided(suite)


def _undecided(suite: Suite) -> Iterator[str]:
    """What says nothing that could be missed."""
    for one in suite.directions:
        if (one.moves.up is None) == (one.moves.down is None):
            yield f"{one.name!r} says neither or both of `up` and `down`: one is expected"
    for metric in suite.metrics:
        if metric.metric not in METRICS:
            yield f"{metric.name!r} asks for {metric.metric!r}: there are {sorted(METRICS)}"
        if metric.at_least is None and metric.at_most is None:
            yield f"{metric.name!r} says neither `at_least` nor `at_most`"
