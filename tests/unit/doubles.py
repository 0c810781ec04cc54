"""Small real things for unit tests: servables, requests and engines that a test can look into."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from service.batching.member import Member
from service.errors import NotFoundError
from service.protocol.concat import concat
from service.protocol.datatypes import Datatype
from service.protocol.messages import (
    InferRequest,
    ModelState,
    Parameter,
    Policy,
    Servable,
    Snapshot,
    Tensor,
    TensorSpec,
)
from service.protocol.ports import EachOutputs
from service.protocol.span import Span

Outputs = Mapping[str, Tensor]


def fp32(values: Any) -> Tensor:
    """An FP32 tensor of nested lists."""
    return Tensor(Datatype.FP32, np.array(values, np.float32))


def spec(name: str, datatype: str, shape: Sequence[int], *, optional: bool = False) -> TensorSpec:
    """One input or output."""
    return TensorSpec(
        name=name, datatype=Datatype.named(datatype), shape=tuple(shape), optional=optional
    )


def servable(
    name: str = "m",
    version: str = "1",
    *,
    max_batch_size: int = 8,
    inputs: Sequence[TensorSpec] = (spec("x", "FP32", (-1, -1)),),
    outputs: Sequence[TensorSpec] = (spec("y", "FP32", (-1, -1)),),
    policy: Policy | None = None,
) -> Servable:
    """A servable that takes FP32 `x` and gives FP32 `y` unless told otherwise."""
    return Servable(
        name=name,
        version=version,
        platform="test",
        max_batch_size=max_batch_size,
        inputs={item.name: item for item in inputs},
        outputs={item.name: item for item in outputs},
        policy=policy or Policy(),
    )


def request(inputs: Mapping[str, Tensor], **more: Any) -> InferRequest:
    """A request to model `m`."""
    return InferRequest(**{"model": "m", "inputs": inputs} | more)


def snapshot(*servables: Servable, index: Sequence[ModelState] = ()) -> Snapshot:
    """What an engine that serves these would tell."""
    found: dict[str, dict[str, Servable]] = {}
    for item in servables:
        found.setdefault(item.name, {})[item.version] = item
    ready = [ModelState(name=s.name, version=s.version, state="READY") for s in servables]
    return Snapshot(index=(*ready, *index), servables=found)


_MODEL = servable()


def member(rows: int, **more: Any) -> Member:
    """Somebody who waits for the default servable; whoever answers it is not heard."""
    given: dict[str, Any] = {"deadline": 1.0, "kind": "k", **more}
    return Member(
        servable=_MODEL,
        inputs={},
        outputs=("y",),
        rows=rows,
        parameters={},
        answer=lambda _: None,
        **given,
    )


class LocalGeneration:
    """A generation that this process alone sees."""

    def __init__(self) -> None:
        self.number = 0

    def current(self) -> int:
        """The number now."""
        return self.number

    def bump(self) -> None:
        """Change it."""
        self.number += 1


class TinyEngine:
    """Doubles every input of `x` into `y`, and remembers each run that it was asked for.

    Args:
        servables: what it serves.
        answer: instead of doubling: from the inputs of a batch to its outputs, or an exception.
    """

    name = "tiny"

    def __init__(
        self,
        *servables: Servable,
        answer: Callable[[Mapping[str, Tensor]], Outputs] | None = None,
    ) -> None:
        self.serves = snapshot(*servables)
        self.alive = True
        self.snapshots = 0
        self.runs: list[Mapping[str, Tensor]] = []
        self.deadlines: list[float] = []
        self.spans: list[Span | None] = []
        self.running = 0
        self.most_running = 0
        self.open = asyncio.Event()  # runs end while it is set
        self.open.set()
        self._answer = answer or double

    async def start(self) -> None:
        """Nothing to make ready."""

    async def stop(self) -> None:
        """Nothing to let go of."""

    async def healthy(self) -> bool:
        """Whatever the test has set."""
        return self.alive

    async def snapshot(self) -> Snapshot:
        """What the test has set."""
        self.snapshots += 1
        await asyncio.sleep(0)
        return self.serves

    async def infer(
        self,
        servable: Servable,  # noqa: ARG002 - it treats all alike
        inputs: Sequence[Mapping[str, Tensor]],
        outputs: Sequence[str],
        *,
        parameters: Mapping[str, Parameter],  # noqa: ARG002 - it takes none
        deadline: float,
        span: Span | None = None,
    ) -> Outputs:
        """Answer once the test lets it."""
        joined = concat(inputs)
        self.runs.append(joined)
        self.deadlines.append(deadline)
        self.spans.append(span)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(0)
            await self.open.wait()
            answer = self._answer(joined)
        finally:
            self.running -= 1
        return {name: answer[name] for name in outputs}

    async def infer_each(
        self,
        servable: Servable,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],
        *,
        parameters: Mapping[str, Parameter],
        deadline: float,
        each: EachOutputs,
        span: Span | None = None,
    ) -> None:
        """Say the same twice, and then that it was the last."""
        answer = await self.infer(
            servable, [inputs], outputs, parameters=parameters, deadline=deadline, span=span
        )
        await each(answer, final=False)
        await each(answer, final=False)
        await each({}, final=True)

    async def load(self, model: str) -> None:
        """Only what it serves can be loaded."""
        if model not in self.serves.servables:
            raise NotFoundError(f"the repository has no model {model!r}")

    async def unload(self, model: str) -> None:
        """Forget it."""
        await self.load(model)
        left = [s for m in self.serves.servables.values() for s in m.values() if s.name != model]
        self.serves = snapshot(*left)

    async def statistics(self, model: str, version: str) -> Sequence[Mapping[str, Any]]:
        """It counts nothing."""
        return [{"name": model, "version": version}]


def double(inputs: Mapping[str, Tensor]) -> Outputs:
    """`y` is twice `x`."""
    x = inputs["x"]
    return {"y": Tensor(x.datatype, x.array * 2)}
