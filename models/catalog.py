"""The models of this repository: what each takes and gives, and how it is to be treated."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol, cast

import numpy as np

from service.protocol.datatypes import Datatype
from service.protocol.messages import TensorSpec

VERSION = 1  # of every model committed here; the registry numbers what comes after


class ModelError(Exception):
    """A model cannot be built, does not fit its spec, or fails its golden cases."""


class Kind(Enum):
    """Where a model's weights come from."""

    TRAINED = "trained"  # here, out of data and a seed
    PACKAGED = "packaged"  # out of an installed wheel, as its authors made them


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model of the catalogue.

    Shapes lead with the batch axis, -1. `tolerance` is the largest absolute difference from the
    golden outputs that still counts as the same answer: batching changes the low bits.
    """

    name: str
    builder: str  # the module that makes it; a `Builder`
    kind: Kind
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int  # rows
    tolerance: float
    golden_source: str  # whose code says what is right
    licence: str
    slo_p99_ms: int
    default_timeout_ms: int
    packages: tuple[str, ...]  # the distributions whose versions decide the exported bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A golden case: what goes in (one or more rows), and what the authors' code says comes out."""

    name: str
    inputs: Mapping[str, np.ndarray[Any, Any]]
    outputs: Mapping[str, np.ndarray[Any, Any]]
    notes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A finished model: its ONNX bytes, facts for the manifest, and its golden cases on demand.

    `companions` are texts that other rooms need to use the model, by path from the project's root.
    """

    onnx: bytes
    facts: Mapping[str, Any]
    golden: Callable[[], Sequence[Case]]
    companions: Callable[[], Mapping[str, str]] = dict


class Builder(Protocol):
    """A module that makes one model."""

    def build(self, spec: ModelSpec) -> Build:
        """Make the model.

        Raises:
            ModelError: it cannot be made, or came out wrong.
        """
        ...


def builder(spec: ModelSpec) -> Builder:
    """The module that builds a model, imported now: it may need torch or scikit-learn.

    Raises:
        ModelError: a package that the builder needs is not installed.
    """
    try:
        return cast("Builder", importlib.import_module(spec.builder))
    except ModuleNotFoundError as error:
        raise ModelError(
            f"building {spec.name!r} needs the package {error.name!r}: "
            "install the extra `export` (pip install -e '.[cpu,export]')"
        ) from None


def find(name: str) -> ModelSpec:
    """The spec of a model.

    Raises:
        ModelError: the catalogue has no such model.
    """
    if name not in CATALOG:
        raise ModelError(f"the catalogue has no model {name!r}: there are {', '.join(CATALOG)}")
    return CATALOG[name]


_SPECS = (
    ModelSpec(
        name="digits",
        builder="models.digits",
        kind=Kind.TRAINED,
        inputs=(TensorSpec(name="image", datatype=Datatype.FP32, shape=(-1, 1, 8, 8)),),
        outputs=(TensorSpec(name="logits", datatype=Datatype.FP32, shape=(-1, 10)),),
        max_batch_size=256,
        tolerance=1e-4,
        golden_source="torch, the network that was exported",
        licence="Apache-2.0 (model); CC BY 4.0 (UCI digits)",
        slo_p99_ms=100,
        default_timeout_ms=5_000,
        packages=("numpy", "onnx", "onnx-ir", "onnxscript", "scikit-learn", "torch"),
    ),
    ModelSpec(
        name="parcel_router",
        builder="models.parcel_router",
        kind=Kind.TRAINED,
        inputs=(
            TensorSpec(name="destination", datatype=Datatype.BYTES, shape=(-1, 1)),
            TensorSpec(name="weight_kg", datatype=Datatype.FP32, shape=(-1, 1)),
        ),
        outputs=(
            TensorSpec(name="route", datatype=Datatype.BYTES, shape=(-1, 1)),
            TensorSpec(name="probabilities", datatype=Datatype.FP32, shape=(-1, 4)),
        ),
        max_batch_size=256,
        tolerance=1e-4,
        golden_source="scikit-learn, the pipeline that was exported",
        licence="Apache-2.0",
        slo_p99_ms=100,
        default_timeout_ms=5_000,
        packages=("numpy", "onnx", "scikit-learn", "skl2onnx"),
    ),
    ModelSpec(
        name="magika",
        builder="models.magika",
        kind=Kind.PACKAGED,
        inputs=(TensorSpec(name="bytes", datatype=Datatype.INT32, shape=(-1, 2048)),),
        outputs=(TensorSpec(name="target_label", datatype=Datatype.FP32, shape=(-1, 214)),),
        max_batch_size=64,
        tolerance=1e-3,  # a score in a batch is up to 6e-4 from the same file's alone
        golden_source="magika, Magika().identify_bytes",
        licence="Apache-2.0",
        slo_p99_ms=500,
        default_timeout_ms=10_000,
        packages=("magika",),
    ),
)
CATALOG: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
