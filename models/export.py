"""A trained network becomes ONNX bytes that repeat, pass the checker and answer as it does."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from models.catalog import ModelError, ModelSpec
from service.repository.completion import ConfigMismatchError, Graph, GraphTensor, check

OPSET = 20  # NVIDIA's ONNX Runtime backend of release 24.10 and later reads it
BATCH_SIZES = (1, 2, 7, 32)

Arrays = Mapping[str, np.ndarray[Any, Any]]


def sha256(model: bytes) -> str:
    """The hex digest that names these exact bytes."""
    return hashlib.sha256(model).hexdigest()


def torch_to_onnx(network: torch.nn.Module, spec: ModelSpec) -> bytes:
    """Export a network with one positional tensor for each input of `spec`, in its order.

    The batch axis is called `batch`; everything that tells of this machine (source paths, stack
    traces) is stripped, so the same weights and versions give the same bytes.

    Raises:
        ModelError: the result is no valid ONNX, or does not fit the spec.
    """
    network.eval()
    batch = torch.export.Dim("batch", min=1, max=spec.max_batch_size)
    examples = tuple(
        torch.from_numpy(np.zeros((2, *tensor.shape[1:]), tensor.datatype.dtype))
        for tensor in spec.inputs
    )
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # The exporter warns of its own internals (copyreg, pytree), which callers cannot mend.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            examples,
            dynamo=True,
            opset_version=OPSET,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_shapes=tuple({0: batch} for _ in spec.inputs),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ModelError(f"torch exported nothing for {spec.name!r}")
    return finish(program.model_proto, spec)


def finish(model: onnx.ModelProto, spec: ModelSpec) -> bytes:
    """Strip what is not computation, check the graph and its fit to `spec`, and serialise.

    Raises:
        ModelError: the graph is invalid, or its inputs and outputs are not those of the spec.
    """
    strip(model)
    model.graph.name = spec.name
    model.producer_name, model.producer_version = "lupine", ""
    content: bytes = model.SerializeToString(deterministic=True)
    try:
        onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the exported graph of {spec.name!r} is invalid: {error}") from error
    check_graph(content, spec)
    return content


def strip(model: onnx.ModelProto) -> None:
    """Remove doc strings and metadata, which carry source paths and so differ between machines."""
    model.doc_string = ""
    del model.metadata_props[:]
    for holder in (model.graph, *model.functions):
        _strip_each([holder])
        _strip_each(holder.node)
        _strip_each(holder.value_info)
    _strip_each(model.graph.input)
    _strip_each(model.graph.output)
    _strip_each(model.graph.initializer)


def _strip_each(messages: Iterable[Any]) -> None:
    for message in messages:
        message.ClearField("doc_string")
        message.ClearField("metadata_props")


def check_graph(model: bytes, spec: ModelSpec) -> None:
    """Load the model in ONNX Runtime and hold its inputs and outputs against the spec.

    Raises:
        ModelError: it does not load, or names, types or shapes differ.
    """
    from models.package import config_for  # noqa: PLC0415

    loaded = session(model)
    graph = Graph(
        inputs=[GraphTensor(t.name, t.type, t.shape) for t in loaded.get_inputs()],
        outputs=[GraphTensor(t.name, t.type, t.shape) for t in loaded.get_outputs()],
    )
    try:
        check(config_for(spec), graph)
    except ConfigMismatchError as error:
        raise ModelError(str(error)) from error


def session(model: bytes) -> onnxruntime.InferenceSession:
    """The model in ONNX Runtime, on the CPU."""
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
