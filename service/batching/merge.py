"""The answer to requests that were joined along the batch axis, cut apart again. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.errors import EngineError
from service.protocol.messages import Tensor


def split(outputs: Mapping[str, Tensor], rows: Sequence[int]) -> list[Mapping[str, Tensor]]:
    """The outputs of each member, as views, given how many rows each had.

    Raises:
        EngineError: an output does not have as many rows as went in.
    """
    total = sum(rows)
    for name, tensor in outputs.items():
        if not tensor.shape or tensor.shape[0] != total:
            raise EngineError(
                f"output {name!r} has shape {list(tensor.shape)}: {total} rows went in, and a "
                "batching model gives as many back"
            )
    if len(rows) == 1:
        return [outputs]
    parts: list[Mapping[str, Tensor]] = []
    start = 0
    for count in rows:
        parts.append(
            {
                name: Tensor(tensor.datatype, tensor.array[start : start + count])
                for name, tensor in outputs.items()
            }
        )
        start += count
    return parts
