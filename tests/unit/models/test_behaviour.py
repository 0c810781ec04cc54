"""Tests of behaviour: each kind passes what it should, fails what it should, and says why."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import behaviour, golden, suites
from models.changes import Change, applied
from models.metrics import METRICS
from models.specification import Arrays, Case, ModelError
from models.suites import Direction, Invariance, Keeps, Metric, Moves, Suite
from tests.committed import SERVED

X = np.array([[1.0, 4.0, 2.0]], np.float32)


def double(inputs: Arrays) -> Arrays:
    """A model that doubles what it is given."""
    return {"y": inputs["x"] * 2}


def suite(**parts: Any) -> Suite:
    plain = Suite(
        model="double",
        tolerance=1e-3,
        max_batch_size=2,
        golden=[Case(name="one", inputs={"x": X}, outputs={"y": X * 2})],
        cases=[],
        invariances=[],
        directions=[],
        metrics=[],
        held_out=None,
    )
    return dataclasses.replace(plain, **parts)


def said(
    of: Suite, predict: behaviour.Predict = double, **how: bool
) -> dict[str, tuple[bool, str]]:
    return {one.name: (one.passed, one.said) for one in behaviour.check(of, predict, **how)}


def test_golden_cases_are_compared() -> None:
    """A golden case holds within the tolerance, and says by how much it does not."""
    assert said(suite()) == {"one": (True, "within 0.001")}
    wrong = said(suite(), lambda inputs: {"y": inputs["x"] * 2.1})["one"]
    assert wrong == (False, "'y' is 0.4 off, at most 0.001 may be")


def test_retrained_weights_are_not_held_to_golden_values() -> None:
    """Golden values are the committed weights' own; where the largest is, holds for any."""
    largest = Case(name="largest", inputs={"x": X}, outputs={}, argmax={"y": [1]})
    values = Case(name="values", inputs={"x": X}, outputs={"y": X * 2})
    of = suite(cases=[largest, values])
    assert said(of, exact=False) == {"largest": (True, "within 0.001")}
    wrong = said(of, lambda inputs: {"y": -inputs["x"]}, exact=False)["largest"]
    assert wrong == (False, "the largest of 'y' is at [0], [1] is expected")


def test_invariances() -> None:
    """A change that must not matter: of values, of the largest's place, or of a text."""
    of = suite(
        invariances=[
            Invariance(
                name="place", change=Change("x", multiply=3.0), keeps=Keeps("y", argmax=True)
            ),
            Invariance(name="value", change=Change("x", add=0.1), keeps=Keeps("y")),
            Invariance(name="near", change=Change("x", add=0.1), keeps=Keeps("y", within=0.3)),
            Invariance(name="turned", change=Change("x", roll=1), keeps=Keeps("y", argmax=True)),
        ]
    )
    found = said(of)
    assert found["place"] == (True, "the same")
    assert found["value"] == (False, "'one' moves by 0.2, at most 0.001 is allowed")
    assert found["near"] == (True, "moved by at most 0.2")
    assert found["turned"] == (False, "'one' goes from [1] to [2]")


def test_directions() -> None:
    """A change that must move an output one way, by so much at least."""
    grown = Change("x", add=1.0)
    of = suite(
        directions=[
            Direction(name="up", change=grown, moves=Moves("y", up=1.5, column=1)),
            Direction(name="far", change=grown, moves=Moves("y", up=3.0)),
            Direction(name="down", change=grown, moves=Moves("y", down=0.0)),
        ]
    )
    found = said(of)
    assert found["up"] == (True, "by 2 at least")
    assert found["far"] == (False, "'one' moves up by 2, 3 is expected")
    assert found["down"] == (False, "'one' moves down by -2, 0 is expected")


def test_metrics_are_asked_for_in_batches_that_the_model_takes() -> None:
    """Held-out rows go through in batches of at most the largest, and their answers are joined."""
    asked = []

    def watched(inputs: Arrays) -> Arrays:
        asked.append(len(inputs["x"]))
        return double(inputs)

    rows = np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 1]]
    held_out = Case(name="h", inputs={"x": rows}, outputs={"label": np.array([0, 1, 2, 1, 0])})
    metrics = [
        Metric(name="good", metric="accuracy", output="y", at_least=0.8),
        Metric(name="best", metric="accuracy", output="y", at_least=0.9),
    ]
    found = said(suite(golden=[], metrics=metrics, held_out=held_out), watched)
    assert found["good"] == (True, "0.8, at least 0.8 is asked")
    assert found["best"] == (False, "0.8, at least 0.9 is asked")
    assert asked == [2, 2, 1, 2, 2, 1]
    assert said(suite(metrics=metrics))["good"] == (False, "there is no held-out data")


def test_a_model_that_refuses_fails_that_test_alone() -> None:
    """What the server says is what the finding says, and the next test is run."""

    def refusing(inputs: Arrays) -> Arrays:
        if inputs["x"].max() > 5:
            raise ModelError("answers 429: the queue is full")
        return double(inputs)

    change = Change("x", add=10.0)
    found = said(
        suite(invariances=[Invariance(name="big", change=change, keeps=Keeps("y"))]), refusing
    )
    assert found == {
        "one": (True, "within 0.001"),
        "big": (False, "answers 429: the queue is full"),
    }


def test_metrics() -> None:
    """Accuracy of texts and of largest places; the mean distance in the output's unit."""
    texts = np.array([[b"a"], [b"b"]], object)
    right = {"label": np.array([b"a", b"a"], object)}
    assert METRICS["accuracy"](texts, right) == 0.5
    assert METRICS["accuracy"](np.eye(2), {"label": np.array([0, 1])}) == 1.0
    values = {"value": np.array([1.0, 4.0])}
    assert METRICS["mean_absolute_error"](np.array([[2.0], [2.0]]), values) == 1.5


def test_changes_keep_type_and_shape() -> None:
    """Numbers stay what they were, whatever is done to them; the other inputs are untouched."""
    other = np.zeros(1)
    everything = Change(
        "x", set=2.0, multiply=2.0, add=1.0, noise=0.5, seed=1, least=0, most=5.2, roll=1, flip=True
    )
    changed = applied(everything, {"x": X, "other": other})
    assert changed["x"].dtype == X.dtype
    assert changed["x"].shape == X.shape
    assert changed["other"] is other
    assert 4.5 <= changed["x"].min() <= changed["x"].max() <= 5.2
    assert applied(Change("x", flip=True), {"x": X})["x"].tolist() == [[2.0, 4.0, 1.0]]
    texts = np.array([[b"a"], [b"b"]], object)
    assert applied(Change("x", set="c"), {"x": texts})["x"].tolist() == [[b"c"], [b"c"]]
    with pytest.raises(ModelError, match="holds texts"):
        applied(Change("x", add=1.0), {"x": texts})
    with pytest.raises(ModelError, match="holds numbers"):
        applied(Change("x", set="c"), {"x": X})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[metric]]\nname = 1", r"digits\.toml: Expected `str`, got `int`"),
        ("[[metrics]]", r"digits\.toml: .*unknown field `metrics`"),
        ("[[", r"digits\.toml: "),
        (
            '[[metric]]\nname = "m"\nmetric = "f1"\noutput = "logits"\nat_least = 0.9',
            r"asks for 'f1': there are \['accuracy'",
        ),
        (
            '[[metric]]\nname = "m"\nmetric = "accuracy"\noutput = "logits"',
            "neither `at_least` nor `at_most`",
        ),
        (
            (
                '[[invariance]]\nname = "i"\nchange = { input = "imgae" }\n'
                'keeps = { output = "logits" }'
            ),
            r"changes the input 'imgae': there are \['image'\]",
        ),
        (
            (
                '[[invariance]]\nname = "i"\nchange = { input = "image" }\n'
                'keeps = { output = "logits" }\ncases = ["nobody"]'
            ),
            "names the golden case 'nobody'",
        ),
        (
            (
                '[[direction]]\nname = "d"\nchange = { input = "image" }\n'
                'moves = { output = "logits" }'
            ),
            "neither or both of `up` and `down`",
        ),
        (
            (
                '[[direction]]\nname = "d"\nchange = { input = "image" }\n'
                'moves = { output = "logit", up = 1.0 }'
            ),
            "looks at the output 'logit'",
        ),
    ],
)
def test_a_suite_that_says_nothing_clear_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """A mistyped name must not make a test pass unseen: it is told, with what would be right."""
    (tmp_path / "digits.toml").write_text(text)
    with pytest.raises(ModelError, match=reason):
        suites.load("digits", tmp_path)


def test_a_missing_suite_and_a_broken_line_are_told(tmp_path: Path) -> None:
    """The file, and the line in it."""
    with pytest.raises(ModelError, match="'digits' has no suite"):
        suites.load("digits", tmp_path)
    shutil.copy(suites.FOLDER / "digits.toml", tmp_path)
    (tmp_path / "digits.jsonl").write_text('\n{"name": "x", "inputs": [{"name": "image"}]}\n')
    with pytest.raises(ModelError, match=r"digits\.jsonl, line 2: tensor 'image'"):
        suites.load("digits", tmp_path)


def test_adding_a_case_is_adding_a_line(tmp_path: Path) -> None:
    """A request and its answer, as they went over the wire, are a case."""
    shutil.copy(suites.FOLDER / "digits.toml", tmp_path)
    request = '"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": '
    answer = '"outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 10], "data": '
    line = f'{{"name": "seen", {request}{[0.5] * 64}}}], {answer}{[0.0] * 10}}}]}}'
    (tmp_path / "digits.jsonl").write_text(line)
    (case,) = suites.load("digits", tmp_path).cases
    assert case.inputs["image"].shape == (1, 1, 8, 8)
    assert case.outputs["logits"].shape == (1, 10)


@pytest.mark.parametrize("name", SERVED)
def test_every_suite_can_fail(name: str) -> None:
    """A model that answers with zeros fails its suite, and not only in golden cases."""
    of = suites.load(name)
    shapes = golden.load(name)[0].outputs

    def nothing(inputs: Arrays) -> Arrays:
        rows = len(next(iter(inputs.values())))
        return {
            output: np.full((rows, *array.shape[1:]), b"" if array.dtype.hasobject else 0).astype(
                array.dtype
            )
            for output, array in shapes.items()
        }

    kinds = {finding.kind for finding in behaviour.failed(behaviour.check(of, nothing))}
    assert "golden" in kinds
    assert kinds & {"direction", "metric"}
