"""Completes a model's configuration from its ONNX graph, and finds where the two disagree.

The rules are those of NVIDIA's native ONNX Runtime backend, so that one repository loads alike
here and on NVIDIA's container. Source: github.com/triton-inference-server/onnxruntime_backend,
`src/onnxruntime.cc` (AutoCompleteConfig, AutoCompleteMaxBatch, AutoCompleteIO, ValidateInputs,
ValidateOutputs) and `src/onnxruntime_utils.cc` (CompareDimsSupported and the datatype tables).

1. With at least one input (or `batch_input`) and one output configured, nothing is completed.
2. A graph is batchable when every input and output leads with a dimension of any size. A batchable
   one gets the server's `default-max-batch-size` (4) for a `max_batch_size` of 0, which is also
   what a missing one reads as. One that is not batchable refuses any other value than 0.
3. `dynamic_batching` is added where the size is then over 1 and no scheduler was chosen.
4. Missing inputs or outputs are taken from the graph, all of them, without the batch axis; empty
   dims are written as `[1]`, with an empty `reshape` where there is a batch axis.

This module is also loaded inside Triton's own environment: the standard library, nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_MAX_BATCH_SIZE = 4  # what Triton hands its backends when the command line names none

# ONNX Runtime's names for what the native backend maps. Anything else it refuses, BF16 included.
DATA_TYPES: Mapping[str, str] = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}


class ConfigMismatchError(ValueError):
    """The configuration and the graph contradict each other, or the graph cannot be served."""


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """An input or output as ONNX Runtime describes it: `type` such as `tensor(float)`.

    In `shape` a name or None stands for any size.
    """

    name: str
    type: str
    shape: Sequence[int | str | None]

    @property
    def dims(self) -> list[int]:
        """The shape as Triton writes it, any size being -1."""
        return [size if isinstance(size, int) else -1 for size in self.shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What a graph takes and gives. `initializers` are inputs that have a value when not fed."""

    inputs: Sequence[GraphTensor]
    outputs: Sequence[GraphTensor]
    initializers: Sequence[GraphTensor] = ()

    @property
    def batchable(self) -> bool:
        """Whether every input and output leads with an axis of any size."""
        return all(t.dims[:1] == [-1] for t in (*self.inputs, *self.outputs))


def needs_completion(config: Mapping[str, Any]) -> bool:
    """Whether rule 1 leaves anything to complete: then, and only then, is the graph needed."""
    inputs = [*config.get("input", ()), *config.get("batch_input", ())]
    return not (inputs and config.get("output"))


def complete(
    config: Mapping[str, Any],
    graph: Graph,
    *,
    default_max_batch_size: int = DEFAULT_MAX_BATCH_SIZE,
) -> dict[str, Any]:
    """The configuration with what it leaves out taken from the graph. The argument stays as it is.

    Args:
        config: Triton's ModelConfig as JSON; any part may be missing.
        graph: what the model takes and gives.
        default_max_batch_size: the server's `--backend-config=default-max-batch-size`.

    Raises:
        ConfigMismatchError: a size is configured for a graph that cannot batch, or the graph has
            a tensor of a kind or type that Triton has no word for.
    """
    completed = copy.deepcopy(dict(config))
    if not needs_completion(config):
        return completed
    _refuse_unservable(config, graph)
    size = int(completed.get("max_batch_size", 0))
    if graph.batchable:
        size = size or max(default_max_batch_size, 0)
        scheduled = {"sequence_batching", "dynamic_batching"} & completed.keys()
        if size > 1 and not scheduled:
            completed["dynamic_batching"] = {}
    elif size:
        tensors = (*graph.inputs, *graph.outputs)
        fixed = next(tensor for tensor in tensors if tensor.dims[:1] != [-1])
        raise ConfigMismatchError(
            f"model {_name(config)}: max_batch_size is {size}, but the graph cannot batch: "
            f"{fixed.name!r} has shape {fixed.dims}, which does not lead with -1; "
            f"max_batch_size: 0 is right"
        )
    completed["max_batch_size"] = size
    if not completed.get("input") and not completed.get("batch_input"):
        completed["input"] = [_described(tensor, size) for tensor in graph.inputs]
    if not completed.get("output"):
        completed["output"] = [_described(tensor, size) for tensor in graph.outputs]
    return completed


def check(config: Mapping[str, Any], graph: Graph) -> None:
    """Hold a complete configuration against the graph.

    Raises:
        ConfigMismatchError: an input or output is unknown, missing, or of another type or shape.
    """
    _refuse_unservable(config, graph)
    size = int(config.get("max_batch_size", 0))
    known = {tensor.name: tensor for tensor in (*graph.inputs, *graph.initializers)}
    inputs: Sequence[Mapping[str, Any]] = config.get("input", ())
    for entry in inputs:
        tensor = _known(config, "input", entry, known)
        if entry.get("optional"):
            _check_optional(config, tensor, size, graph)
        elif tensor in graph.initializers:
            raise ConfigMismatchError(
                f"model {_name(config)}: input {tensor.name!r} has a default in the graph and "
                f"is not required by it: write `optional: true`, or leave it out"
            )
        _check_tensor(config, "input", entry, tensor, size, exact=False)
    fed = {entry["name"] for entry in inputs} | _control_inputs(config)
    missing = [tensor.name for tensor in graph.inputs if tensor.name not in fed]
    if missing:
        raise ConfigMismatchError(
            f"model {_name(config)}: the graph needs input {_list(missing)}, "
            f"which the configuration lacks"
        )
    known = {tensor.name: tensor for tensor in graph.outputs}
    for entry in config.get("output", ()):
        tensor = _known(config, "output", entry, known)
        _check_tensor(config, "output", entry, tensor, size, exact=True)


def _described(tensor: GraphTensor, max_batch_size: int) -> dict[str, Any]:
    dims = tensor.dims[1:] if max_batch_size else tensor.dims
    described: dict[str, Any] = {
        "name": tensor.name,
        "data_type": DATA_TYPES[tensor.type],
        "dims": dims or [1],
    }
    if not dims and max_batch_size:
        described["reshape"] = {"shape": []}
    return described


def _refuse_unservable(config: Mapping[str, Any], graph: Graph) -> None:
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in tensors:
            if tensor.type in DATA_TYPES:
                continue
            where = f"model {_name(config)}: {kind} {tensor.name!r} is {tensor.type}"
            if not tensor.type.startswith("tensor("):
                raise ConfigMismatchError(
                    f"{where}: only tensors can be served, no sequences, maps or optionals "
                    f"(a scikit-learn classifier is exported with zipmap=False)"
                )
            raise ConfigMismatchError(
                f"{where}, a type that Triton's ONNX Runtime backends do not serve: "
                f"one of {', '.join(DATA_TYPES)} is expected"
            )


def _known(
    config: Mapping[str, Any],
    kind: str,
    entry: Mapping[str, Any],
    known: Mapping[str, GraphTensor],
) -> GraphTensor:
    found = known.get(entry["name"])
    if found is None:
        raise ConfigMismatchError(
            f"model {_name(config)}: the configuration names {kind} {entry['name']!r}, "
            f"the graph has {_list(known)}"
        )
    return found


def _check_optional(
    config: Mapping[str, Any], tensor: GraphTensor, size: int, graph: Graph
) -> None:
    where = f"model {_name(config)}: input {tensor.name!r} is optional"
    if size:
        raise ConfigMismatchError(
            f"{where}, which a model that batches cannot have (max_batch_size is {size})"
        )
    if tensor in graph.inputs:
        raise ConfigMismatchError(f"{where} in the configuration, but the graph has no default")


def _check_tensor(
    config: Mapping[str, Any],
    kind: str,
    entry: Mapping[str, Any],
    tensor: GraphTensor,
    size: int,
    *,
    exact: bool,
) -> None:
    """Types must be equal. An input of any size in the graph takes what the configuration says."""
    where = f"model {_name(config)}: {kind} {tensor.name!r}"
    expected = DATA_TYPES[tensor.type]
    if entry.get("data_type") != expected:
        raise ConfigMismatchError(
            f"{where} is {entry.get('data_type')} in the configuration, {expected} in the graph"
        )
    reshape = entry.get("reshape")
    dims = [
        int(d) for d in (entry.get("dims", ()) if reshape is None else reshape.get("shape", ()))
    ]
    if not tensor.dims:  # a scalar, which Triton can only write as ones
        if any(dim != 1 for dim in dims) or size:
            raise ConfigMismatchError(
                f"{where} is a scalar in the graph: dims [1] with max_batch_size: 0 is right, "
                f"got {dims} with max_batch_size: {size}"
            )
        return
    full = [-1, *dims] if size else dims
    fits = len(full) == len(tensor.dims) and all(
        wanted == got or (wanted == -1 and not exact)
        for wanted, got in zip(tensor.dims, full, strict=True)
    )
    if size and tensor.dims[0] != -1:
        raise ConfigMismatchError(
            f"{where} has shape {tensor.dims} in the graph, which does not lead with -1: "
            f"max_batch_size {size} needs that; max_batch_size: 0 is right"
        )
    if not fits:
        batch = f" (max_batch_size {size} adds the leading -1)" if size else ""
        raise ConfigMismatchError(
            f"{where} has shape {full} in the configuration{batch}, {tensor.dims} in the graph"
        )


def _control_inputs(config: Mapping[str, Any]) -> set[str]:
    """The inputs that Triton's sequence scheduler feeds by itself."""
    controls = config.get("sequence_batching", {}).get("control_input", ())
    return {control["name"] for control in controls}


def _name(config: Mapping[str, Any]) -> str:
    return repr(config.get("name", ""))


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
