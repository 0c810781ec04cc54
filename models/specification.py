"""What is said of a model before it is made: what it takes and gives, how it is to be treated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from service.protocol.messages import TensorSpec

VERSION = 1  # of every model made here; the registry numbers what comes after

Arrays = Mapping[str, np.ndarray[Any, Any]]


class ModelError(Exception):
    """A model cannot be built, does not fit its spec, or fails its golden cases."""


class Kind(Enum):
    """Where a model's bytes come from."""

    TRAINED = "trained"  # here, out of data and a seed
    DRAWN = "drawn"  # random weights out of a seed: it gives load, not answers
    PACKAGED = "packaged"  # out of an installed wheel, as its authors made them
    ADAPTED = "adapted"  # the same, with the graph's edges changed and its answers kept


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRT:
    """How a model is built for TensorRT.

    The profile spans the batch axis, the only one that is not fixed: 1 row, `optimal_rows`, and
    the spec's `max_batch_size`. `fp16_tolerance` takes the place of the spec's `tolerance` where
    the plan computes in half precision.
    """

    optimal_rows: int
    fp16_tolerance: float
    workspace_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model of the catalogue.

    Shapes lead with the batch axis, -1. `tolerance` is the largest absolute difference from the
    golden outputs that still counts as the same answer: batching changes the low bits.

    What decides the model's bytes is declared, and nothing else makes it again: its own module,
    `sources` (other files, by path from the project's root) and `packages`.
    """

    name: str
    kind: Kind
    summary: str  # one sentence: what it answers
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int  # rows
    tolerance: float
    golden_source: str  # whose code says what is right
    licence: str
    slo_p99_ms: int
    default_timeout_ms: int
    packages: tuple[str, ...]  # the distributions whose versions decide the exported bytes
    sources: tuple[str, ...] = ()  # paths; files of `models/` that decide the bytes
    datasets: tuple[str, ...] = ()  # by their names in docs/datasets.md
    tensorrt: TensorRT | str  # or why TensorRT cannot run it


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What goes in (one or more rows), and what must come out.

    Of a golden case the outputs are what the authors' code gave. `argmax` says for an output where
    the largest value of each row must be: this holds for the model trained anew, too.
    """

    name: str
    inputs: Arrays
    outputs: Arrays
    argmax: Mapping[str, Sequence[int]] = field(default_factory=lambda: MappingProxyType({}))
    notes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A finished model: its ONNX bytes, facts for the manifest, and its golden cases on demand.

    `metrics` are what it reaches on data that it was not trained on. `held_out` is that data, or
    a part of it, with the right outputs: the behavioural tests measure a served model with it.
    `companions` are texts that other rooms need to use the model, by path from the project's root.
    """

    onnx: bytes
    facts: Mapping[str, Any]
    golden: Callable[[], Sequence[Case]]
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    held_out: Callable[[], Case | None] = lambda: None
    companions: Callable[[], Mapping[str, str]] = dict


class Builder(Protocol):
    """A module that makes one model: `models/<name>.py`."""

    SPEC: ModelSpec

    def build(self, seed: int | None = None) -> Build:
        """Make the model, out of another seed than its own where one is named.

        Raises:
            ModelError: it cannot be made, or came out wrong.
        """
        ...
