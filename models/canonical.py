"""An ONNX graph in the one form that is committed: no traces of the machine, valid, fitting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx

from models.catalog import ModelError, ModelSpec
from models.verify import check_fit


def finish(model: Any, spec: ModelSpec) -> bytes:
    """Strip what is not computation, check the graph, and serialise it.

    Args:
        model: the `onnx.ModelProto`; it is changed in place.
        spec: what the graph has to look like.

    Raises:
        ModelError: the graph is invalid, or its inputs and outputs are not those of the spec.
    """
    strip(model)
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


def opsets(model: bytes) -> dict[str, int]:
    """The operator sets that a model asks for; `ai.onnx` is the unnamed one."""
    imports = onnx.load_from_string(model).opset_import
    return {entry.domain or "ai.onnx": entry.version for entry in imports}


def _strip_each(messages: Iterable[Any]) -> None:
    for message in messages:
        message.ClearField("doc_string")
        message.ClearField("metadata_props")
