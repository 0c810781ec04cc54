"""Tests of behaviour: what a model must go on doing, whoever serves it and however it was made.

What runs a suite (`models.suites`) does not know the model: it is given `predict`, which may be
ONNX Runtime here or a gateway anywhere (`models.predictors`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.changes import applied
from models.metrics import METRICS
from models.specification import Arrays, Case, ModelError
from models.suites import Direction, Invariance, Metric, Suite
from models.verify import differences

Predict = Callable[[Arrays], Arrays]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One test: what kind it was, whether the model passed, and what it said."""

    kind: str
    name: str
    passed: bool
    said: str


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
