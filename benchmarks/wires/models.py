"""Models of different shapes and datatypes, with what each must answer computed beside it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import parser

from benchmarks.harness import mlp
from benchmarks.wires.exchange import Array, Request
from benchmarks.wires.golden import Case

Arrays = Mapping[str, Array]

_OPSET = '<ir_version: 9, opset_import: ["": 20]>'
_GRAPHS = {
    "counts": """counts (int64[n, 8] x) => (int64[n, 8] y, int64[n, 1] total)
        <int64[8] scale = {1, 2, 3, 4, 5, 6, 7, 8}, int64[8] offset = {9, 8, 7, 6, 5, 4, 3, 2},
         int64[1] axis = {1}>
        { scaled = Mul (x, scale)  y = Add (scaled, offset)  total = ReduceSum (y, axis) }""",
    "labels": """labels (string[n, 1] first, string[n, 1] second) => (string[n, 1] joined)
        { joined = StringConcat (first, second) }""",
    "pixels": """pixels (float[n, 3, 64, 64] x) => (float[n, 3] y)
        <int64[2] axes = {2, 3}>
        { y = ReduceMean <keepdims = 0> (x, axes) }""",
    "rows": "rows (float[n, 32] x) => (float[n, 32] y) { y = Identity (x) }",
}
_CONFIGS = {
    "counts": "max_batch_size: 32 input { name: 'x' data_type: TYPE_INT64 dims: 8 }"
    "output { name: 'y' data_type: TYPE_INT64 dims: 8 }"
    "output { name: 'total' data_type: TYPE_INT64 dims: 1 }",
    "labels": "max_batch_size: 16 input { name: 'first' data_type: TYPE_STRING dims: 1 }"
    "input { name: 'second' data_type: TYPE_STRING dims: 1 }"
    "output { name: 'joined' data_type: TYPE_STRING dims: 1 }",
    "pixels": "max_batch_size: 16 input { name: 'x' data_type: TYPE_FP32 dims: [3, 64, 64] }"
    "output { name: 'y' data_type: TYPE_FP32 dims: 3 }",
    "rows": "max_batch_size: 64 input { name: 'x' data_type: TYPE_FP32 dims: 32 }"
    "output { name: 'y' data_type: TYPE_FP32 dims: 32 }",
}
_SCALE = np.arange(1, 9)
_OFFSET = np.arange(9, 1, -1)
_LETTERS = "abcdefghijklmnopqrstuvwxyz äöüß 0123456789 ∑🐺"


def build(folder: Path, names: Sequence[str]) -> Path:
    """Write a repository with these models, of `mlp`, `counts`, `labels`, `pixels`, `rows`."""
    for name in names:
        if name == "mlp":
            mlp.repository(folder, triton_batches=False)
            continue
        (folder / name / "1").mkdir(parents=True)
        graph = parser.parse_model(f"{_OPSET} {_GRAPHS[name]}")
        (folder / name / "1" / "model.onnx").write_bytes(graph.SerializeToString())
        (folder / name / "config.pbtxt").write_text(f"backend: 'onnxruntime' {_CONFIGS[name]}\n")
    return folder


class Requests:
    """Makes requests that nobody made before: each has its own id and its own random rows.

    Args:
        seed: of all that is random.
        golden: by model, cases whose answers its authors' own code has given; one of them, drawn
            at random, takes the place of random rows.
    """

    def __init__(self, seed: int, golden: Mapping[str, Sequence[Case]] | None = None) -> None:
        self._golden = golden or {}
        self._random = random.Random(seed)
        self._numbers = np.random.default_rng(seed)
        self._ids = itertools.count(1)

    def make(self, model: str, rows: int = 1) -> Request:
        """A request to a model, and its right answer."""
        if cases := self._golden.get(model):
            case = self._random.choice(cases)
            return Request(
                f"{model}-{next(self._ids)}",
                model,
                case.inputs,
                case.expected,
                tolerance=case.tolerance,
            )
        inputs, expected = self._makers[model](self, rows)
        return Request(f"{model}-{next(self._ids)}", model, inputs, expected)

    def _mlp(self, rows: int) -> tuple[Arrays, Arrays]:
        x = self._numbers.uniform(-1, 1, (rows, 64)).astype(np.float32)
        return {mlp.INPUT: x}, {mlp.OUTPUT: mlp.forward(x)}

    def _counts(self, rows: int) -> tuple[Arrays, Arrays]:
        x = self._numbers.integers(-(10**12), 10**12, (rows, 8))
        y = x * _SCALE + _OFFSET
        return {"x": x}, {"y": y, "total": y.sum(axis=1, keepdims=True)}

    def _labels(self, rows: int) -> tuple[Arrays, Arrays]:
        first, second = self._texts(rows), self._texts(rows)
        return {"first": first, "second": second}, {"joined": first + second}

    def _pixels(self, rows: int) -> tuple[Arrays, Arrays]:
        x = self._numbers.uniform(0, 1, (rows, 3, 64, 64)).astype(np.float32)
        return {"x": x}, {"y": x.mean(axis=(2, 3))}

    def _rows(self, rows: int) -> tuple[Arrays, Arrays]:
        x = self._numbers.uniform(-1, 1, (rows, 32)).astype(np.float32)
        return {"x": x}, {"y": x}

    def _texts(self, rows: int) -> Array:
        found = np.empty((rows, 1), np.object_)
        for i in range(rows):
            text = "".join(self._random.choices(_LETTERS, k=self._random.randrange(0, 40)))
            found[i, 0] = text.encode()
        return found

    _makers: Mapping[str, Callable[[Requests, int], tuple[Arrays, Arrays]]] = {
        "mlp": _mlp,
        "counts": _counts,
        "labels": _labels,
        "pixels": _pixels,
        "rows": _rows,
    }
