"""Whether a request fits a servable. Pure; runs before anything is queued."""

from __future__ import annotations

from collections.abc import Iterable

from service.errors import InvalidRequestError
from service.protocol.messages import InferRequest, Servable, Tensor, TensorSpec


def check(request: InferRequest, servable: Servable) -> int:
    """How many rows the request holds: 1 for a servable without a batch axis.

    Raises:
        InvalidRequestError: an input is missing, unknown, or of the wrong datatype or shape; the
            inputs disagree on the rows, or there are too many; an output is unknown.
    """
    for name in request.inputs.keys() - servable.inputs.keys():
        raise InvalidRequestError(
            f"model {servable.name!r} has no input {name!r:.300}: it takes {_list(servable.inputs)}"
        )
    for name in request.outputs:
        if name not in servable.outputs:
            raise InvalidRequestError(
                f"model {servable.name!r} has no output {name!r:.300}: "
                f"it gives {_list(servable.outputs)}"
            )
    for spec in servable.inputs.values():
        tensor = request.inputs.get(spec.name)
        if tensor is not None:
            _check_tensor(servable, spec, tensor)
        elif not spec.optional:
            raise InvalidRequestError(
                f"model {servable.name!r} needs input {spec.name!r} "
                f"({spec.datatype.name} {list(spec.shape)}), which the request lacks"
            )
    return _rows(request, servable)


def _check_tensor(servable: Servable, spec: TensorSpec, tensor: Tensor) -> None:
    if tensor.datatype is not spec.datatype:
        raise InvalidRequestError(
            f"input {spec.name!r} of model {servable.name!r} is {spec.datatype.name}, "
            f"got {tensor.datatype.name}"
        )
    shape = tensor.shape
    if len(shape) != len(spec.shape) or any(
        wanted not in (-1, size) for wanted, size in zip(spec.shape, shape, strict=True)
    ):
        raise InvalidRequestError(
            f"input {spec.name!r} of model {servable.name!r} has shape {list(spec.shape)} "
            f"(-1: any size), got {list(shape)}"
        )


def _rows(request: InferRequest, servable: Servable) -> int:
    if servable.max_batch_size == 0:
        return 1
    counts = {name: tensor.shape[0] for name, tensor in request.inputs.items()}
    if len(set(counts.values())) > 1:
        raise InvalidRequestError(f"the inputs disagree on the number of rows: {counts}")
    rows = next(iter(counts.values()), 0)
    if not 1 <= rows <= servable.max_batch_size:
        raise InvalidRequestError(
            f"model {servable.name!r} takes 1 to {servable.max_batch_size} rows a request, "
            f"got {rows}"
        )
    return rows


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
