"""What crosses the seams: tensors, requests, responses and the description of a servable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from service.protocol.datatypes import Datatype
from service.protocol.span import Span

Parameter: TypeAlias = bool | int | float | str
"""A value in a request's, tensor's or response's `parameters`."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A dense array with its datatype. `array.shape` is the tensor's shape.

    The array may be a read-only view into the bytes that arrived; nobody writes into it.
    """

    datatype: Datatype
    array: np.ndarray[Any, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes, outermost first."""
        shape: tuple[int, ...] = self.array.shape
        return shape


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """One inference asked for by a client, after the wire and before the route."""

    model: str
    version: str = ""  # empty: the routed one
    id: str = ""
    key: str = ""  # the same one meets the same canary; empty: the id does
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...] = ()  # empty: all of them
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    deadline: float = math.inf  # absolute, seconds of time.monotonic()
    priority: int = 0  # 1 is highest; 0: the model's default
    span: Span | None = None  # where somebody looks at it


@dataclass(frozen=True, slots=True, kw_only=True)
class InferResponse:
    """The answer to one request, with the version that made it."""

    model: str
    version: str
    id: str
    outputs: Mapping[str, Tensor]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """What a model says of one input or output. -1 in `shape` stands for any size.

    For a batching model the leading -1 of `shape` is the batch axis.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How the gateway treats a servable: the `lupine.*` parameters of its config.pbtxt."""

    batching: str = "gateway"  # or "triton": the engine batches; "off": nobody does
    default_timeout: float = 30.0  # seconds, for requests that name no deadline
    priority: int = 1  # for requests that name none
    slo_p99: float | None = None  # seconds that all but one in a hundred answers shall take at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Servable:
    """One version of one model that an engine can answer for."""

    name: str
    version: str
    platform: str
    max_batch_size: int  # rows; 0: the model has no batch axis
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    instances: int = 1  # runs that the engine works on at once
    decoupled: bool = False  # it answers a request as often as it likes, or never
    policy: Policy = field(default_factory=Policy)
    config: Mapping[str, Any] = field(default_factory=dict)  # Triton's ModelConfig, as JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """One line of the repository index. `state` is empty while the version was never loaded."""

    name: str
    version: str = ""
    state: str = ""  # READY, UNAVAILABLE, LOADING, UNLOADING or empty
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What an engine serves at one moment: the index, and a servable for each READY version."""

    index: tuple[ModelState, ...] = ()
    servables: Mapping[str, Mapping[str, Servable]] = field(default_factory=dict)
