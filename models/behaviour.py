"""Tests of behaviour: what a model must go on doing, whoever serves it and however it was made.

A suite is data. For a model `digits` it is

- `models/golden/digits.json`: golden cases, recorded from the authors' own code;
- `models/behaviour/digits.jsonl`: further cases, a line each: a name, `inputs`, and the right
  `outputs` in the protocol's JSON form (so a request and its answer, put together, are a line), or
  only the place of the largest value, `"argmax": {"logits": [1]}`;
- `models/behaviour/digits.toml`: invariances (a change that must not matter), directions (a change
  that must move the answer one way) and least metrics on `models/held_out/digits.json`.

What runs it does not know the model: it is given `predict`, which may be ONNX Runtime here or a
gateway anywhere (`models.predictors`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from models import golden, manifest
from models.changes import Change, applied
from models.metrics import METRICS
from models.specification import Arrays, Case, ModelError
from models.verify import differences

FOLDER = Path(__file__).parent / "behaviour"

Predict = Callable[[Arrays], Arrays]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One test: what kind it was, whether the model passed, and what it said."""

    kind: str
    name: str
    passed: bool
    said: str


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


def check(suite: Suite, predict: Predict, *, exact: bool = True) -> list[Finding]:
    """Hold a model to its suite.

    Args:
        suite: what it is held to.
        predict: inputs to outputs; may raise `ModelError`, which fails the one test.
        exact: whether golden values count. They are the committed weights' own: a model that was
            trained anew answers otherwise, and is held to the rest.
    """
    return [
        *(_tried("golden", _matched, one, suite, predict) for one in suite.golden if exact),
        *(
            _tried("case", _matched, one, suite, predict)
            for one in suite.cases
            if exact or one.argmax
        ),
        *(_tried("invariance", _invariant, one, suite, predict) for one in suite.invariances),
        *(_tried("direction", _directed, one, suite, predict) for one in suite.directions),
        *(_tried("metric", _measured, one, suite, predict) for one in suite.metrics),
    ]


def require(suite: Suite, predict: Predict, *, exact: bool = True) -> list[Finding]:
    """The findings, all of them passed.

    Raises:
        ModelError: the first test that was not.
    """
    findings = check(suite, predict, exact=exact)
    for finding in failed(findings):
        raise ModelError(f"{finding.kind} {finding.name!r} of {suite.model!r}: {finding.said}")
    return findings


def failed(findings: Sequence[Finding]) -> list[Finding]:
    """Those that were not passed."""
    return [finding for finding in findings if not finding.passed]


def _tried(
    kind: str,
    test: Callable[[Any, Suite, Predict], tuple[bool, str]],
    one: Any,
    suite: Suite,
    predict: Predict,
) -> Finding:
    try:
        passed, said = test(one, suite, predict)
    except ModelError as error:
        passed, said = False, str(error)
    return Finding(kind=kind, name=one.name, passed=passed, said=said)


def _matched(case: Case, suite: Suite, predict: Predict) -> tuple[bool, str]:
    answers = predict(case.inputs)
    wrong = differences(answers, case.outputs, suite.tolerance)
    for output, places in case.argmax.items():
        said = answers[output].argmax(axis=-1).tolist()
        if said != list(places):
            wrong.append(f"the largest of {output!r} is at {said}, {list(places)} is expected")
    return not wrong, "; ".join(wrong) or f"within {suite.tolerance:g}"


def _invariant(one: Invariance, suite: Suite, predict: Predict) -> tuple[bool, str]:
    worst = 0.0
    for case in _chosen(one.cases, suite):
        before = predict(case.inputs)[one.keeps.output]
        after = predict(applied(one.change, case.inputs))[one.keeps.output]
        if one.keeps.argmax:
            places = before.argmax(axis=-1).tolist(), after.argmax(axis=-1).tolist()
            if places[0] != places[1]:
                return False, f"{case.name!r} goes from {places[0]} to {places[1]}"
        elif before.dtype.hasobject:
            if not np.array_equal(before, after):
                return False, f"{case.name!r} goes from {before.tolist()} to {after.tolist()}"
        else:
            worst = max(worst, float(np.abs(after - before).max(initial=0)))
            allowed = suite.tolerance if one.keeps.within is None else one.keeps.within
            if not worst <= allowed:
                return False, f"{case.name!r} moves by {worst:.3g}, at most {allowed:g} is allowed"
    return True, "the same" if one.keeps.argmax else f"moved by at most {worst:.3g}"


def _directed(one: Direction, suite: Suite, predict: Predict) -> tuple[bool, str]:
    sign, wanted = (1, one.moves.up) if one.moves.up is not None else (-1, one.moves.down)
    least = np.inf
    for case in _chosen(one.cases, suite):
        before = predict(case.inputs)[one.moves.output]
        after = predict(applied(one.change, case.inputs))[one.moves.output]
        moved = float((sign * (after - before)[..., one.moves.column]).min())
        least = min(least, moved)
        if wanted is None or not moved >= wanted:
            way = "up" if sign > 0 else "down"
            return False, f"{case.name!r} moves {way} by {moved:.3g}, {wanted:g} is expected"
    return True, f"by {least:.3g} at least"


def _measured(one: Metric, suite: Suite, predict: Predict) -> tuple[bool, str]:
    if suite.held_out is None:
        return False, "there is no held-out data"
    given = predict_all(suite, predict)[one.output]
    reached = METRICS[one.metric](given, suite.held_out.outputs)
    bounds = []
    if one.at_least is not None:
        bounds.append((reached >= one.at_least, f"at least {one.at_least:g}"))
    if one.at_most is not None:
        bounds.append((reached <= one.at_most, f"at most {one.at_most:g}"))
    asked = " and ".join(words for _, words in bounds)
    return all(holds for holds, _ in bounds), f"{reached:.4g}, {asked} is asked"


def predict_all(suite: Suite, predict: Predict) -> Arrays:
    """The answers to all held-out rows, asked for in batches that the model takes."""
    assert suite.held_out is not None  # noqa: S101 - for the type checker; `_measured` has looked
    inputs = suite.held_out.inputs
    rows = len(next(iter(inputs.values())))
    parts = [
        predict({name: array[at : at + suite.max_batch_size] for name, array in inputs.items()})
        for at in range(0, rows, suite.max_batch_size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _chosen(names: list[str] | None, suite: Suite) -> list[Case]:
    return [case for case in suite.golden if names is None or case.name in names]


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
