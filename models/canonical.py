"""An ONNX graph in the one form that is committed: no traces of the machine, valid, fitting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx

from models.specification import ModelError, ModelSpec
from models.verify import check_fit

LIMIT_BYTES = 2**31 - 1  # of one protobuf message; more needs external data, which nobody hashes


def finish(model: Any, spec: ModelSpec, *, limit_bytes: int = LIMIT_BYTES) -> bytes:
    """Strip what is not computation, check the graph, and serialise it.

    Args:
        model: the `onnx.ModelProto`; it is changed in place.
        spec: what the graph has to look like.
        limit_bytes: what the file may weigh.

    Raises:
        ModelError: the graph is too large for one file or has parts outside of it, is invalid, or
            its inputs and outputs are not those of the spec.
    """
    strip(model)
    _check_whole(model, spec, limit_bytes)
    # skl2onnx lists them out of a set, whose order changes from process to process.
    imports = sorted(model.opset_import, key=lambda entry: str(entry.domain))
    del model.opset_import[:]
    model.opset_import.extend(imports)
    model.graph.name = spec.name
    content: bytes = model.SerializeToString(deterministic=True)
    try:
        onnx.checker.check_model(content, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the graph of {spec.name!r} is invalid: {error}") from error
    check_fit(content, spec)
    return content


def strip(model: Any) -> None:
    """Remove doc strings, metadata and the exporter's local version tag: they tell of a machine."""
    model.producer_version = model.producer_version.partition("+")[0]
    for holder in (model, model.graph, *model.functions):
        _strip_each([holder])
    for holder in (model.graph, *model.functions):
        _strip_each(holder.node)
        _strip_each(holder.value_info)
    _strip_each(model.graph.input)
    _strip_each(model.graph.output)
    _strip_each(model.graph.initializer)


def _check_whole(model: Any, spec: ModelSpec, limit_bytes: int) -> None:
    """One file holds all: so its hash is the model's, and nothing can be swapped beside it."""
    outside = [
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    if outside:
        raise ModelError(
            f"the graph of {spec.name!r} keeps {len(outside)} tensors outside the file, "
            f"{outside[0]!r} first: export with external_data=False"
        )
    weight = sum(_bytes(tensor) for tensor in model.graph.initializer)
    if weight > limit_bytes:
        raise ModelError(
            f"the graph of {spec.name!r} weighs {weight:,} bytes, and one ONNX file holds at most "
            f"{limit_bytes:,}: export it in half precision, or in parts"
        )


def _bytes(tensor: Any) -> int:
    return len(tensor.raw_data) or int(tensor.ByteSize())


def opsets(model: bytes) -> dict[str, int]:
    """The operator sets that a model asks for; `ai.onnx` is the unnamed one."""
    imports = onnx.load_from_string(model).opset_import
    return {entry.domain or "ai.onnx": entry.version for entry in imports}


def _strip_each(messages: Iterable[Any]) -> None:
    for message in messages:
        message.ClearField("doc_string")
        message.ClearField("metadata_props")
