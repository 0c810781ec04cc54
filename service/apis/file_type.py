"""The task API `/identify`: a file's bytes, through the data plane, to its type."""

from __future__ import annotations

import time

from service.apis import identify
from service.dataplane import DataPlane
from service.protocol import deadline
from service.protocol.datatypes import Datatype
from service.protocol.messages import InferRequest, Tensor
from service.protocol.span import Span


async def identify_file(
    dataplane: DataPlane, content: bytes, wait: float | None, span: Span | None = None
) -> identify.Identification:
    """The type of a file.

    Args:
        dataplane: what answers for the model `magika`.
        content: the whole file.
        wait: seconds that the caller waits; None: the model's default.
        span: the request's, where somebody looks at it.

    Raises:
        LupineError: as `DataPlane.infer` does.
    """
    settled = identify.without_model(content)
    if settled is not None:
        return settled
    answer = await dataplane.infer(
        InferRequest(
            model=identify.MODEL,
            inputs={identify.INPUT: Tensor(Datatype.INT32, identify.features(content))},
            outputs=(identify.OUTPUT,),
            deadline=deadline.earliest(wait, now=time.monotonic()),
            span=span,
        )
    )
    return identify.decide(content, answer.outputs[identify.OUTPUT].array)
