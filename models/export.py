"""A trained torch network becomes ONNX bytes that repeat and answer as the network does."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import numpy as np
import torch

from models.canonical import finish
from models.specification import Arrays, ModelError, ModelSpec
from models.verify import compare

# What decides the bytes of every network that is exported here, beside its own module.
PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxscript", "torch")
SOURCES = ("models/canonical.py", "models/export.py")

OPSET = 18  # the exporter's own; NVIDIA's ONNX Runtime backend has read it since release 23.04


def export(network: torch.nn.Module, spec: ModelSpec, rows: Arrays) -> bytes:
    """Export a network, and compare its answers with ONNX Runtime's at batch sizes 1, 2, 7, 32.

    The network takes one positional tensor for each input of `spec`, in its order, and gives one
    for each output. The same weights and package versions give the same bytes.

    Args:
        network: is left in evaluation mode.
        spec: what the graph has to look like.
        rows: at least 32 rows for each input, to compare with.

    Raises:
        ModelError: the graph is invalid, does not fit the spec, or answers otherwise.
    """
    network.eval()
    model = finish(_traced(network, spec), spec)
    compare(model, spec, rows, lambda inputs: answers(network, spec, inputs))
    return model


def answers(network: torch.nn.Module, spec: ModelSpec, inputs: Arrays) -> Arrays:
    """What a network says, by the names of its outputs, as `export` understands it."""
    with torch.no_grad():
        given = network(*(torch.from_numpy(inputs[tensor.name]) for tensor in spec.inputs))
    values = given if isinstance(given, tuple) else (given,)
    pairs = zip(spec.outputs, values, strict=True)
    return {tensor.name: value.numpy() for tensor, value in pairs}


def _traced(network: torch.nn.Module, spec: ModelSpec) -> object:
    batch = torch.export.Dim("batch", min=1, max=spec.max_batch_size)
    examples = tuple(
        torch.from_numpy(np.zeros((2, *tensor.shape[1:]), tensor.datatype.dtype))
        for tensor in spec.inputs
    )
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # The exporter warns about its own internals, which a caller cannot mend.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision's absence is no news
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
    return program.model_proto
