"""Shadow copies: a version sees requests that another answered, and its answers are compared.

Nobody gets a copy's answer, and nobody waits for one: it begins when the caller has been answered,
one at a time in each worker, and its runs may take only a small part of the time. What does not fit
in is not copied.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from service.errors import LupineError
from service.protocol import validation
from service.protocol.messages import InferRequest, Parameter, Servable, Snapshot, Tensor
from service.protocol.routes import Routes

DUTY = 0.05
"""Of the time of a worker, what copies may take."""
_SECONDS = 10.0  # that a copy may take

Outputs = Mapping[str, Tensor]


class Runner(Protocol):
    """Runs a servable."""

    async def infer(
        self,
        servable: Servable,
        inputs: Mapping[str, Tensor],
        outputs: tuple[str, ...],
        *,
        rows: int,
        parameters: Mapping[str, Parameter],
        deadline: float,
    ) -> Outputs:
        """The named outputs.

        Raises:
            LupineError: it does not give them.
        """


class Observer(Protocol):
    """Hears of every copy."""

    def shadowed(self, model: str, outcome: str) -> None:
        """`agreed`, `disagreed`, `failed`, or `skipped`: there was no room for it."""


@dataclass(frozen=True, slots=True)
class _Shadow:
    servable: Servable
    share: float
    tolerance: float


class Shadowing:
    """Copies requests of one worker.

    Args:
        runner: runs the copies.
        observer: hears of them.
        clock: seconds.
    """

    def __init__(
        self, runner: Runner, observer: Observer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runner = runner
        self._observer = observer
        self._clock = clock
        self._shadows: dict[str, _Shadow] = {}
        self._task: asyncio.Task[None] | None = None
        self._next = 0.0  # when the time spent on the last copy is made up for

    def serving(self, snapshot: Snapshot, routes: Routes) -> None:
        """What is loaded, or routed, has changed."""
        self._shadows = {
            name: _Shadow(servable, shadow.share, shadow.tolerance)
            for name, one in routes.models.items()
            if (shadow := one.shadow) is not None
            and (servable := snapshot.servables.get(name, {}).get(shadow.version)) is not None
            and not servable.decoupled
        }

    def answered(self, request: InferRequest, outputs: Outputs) -> None:
        """A request was answered so; where it is its turn, it is copied. Raises nothing."""
        if not self._shadows or request.version:
            return
        shadow = self._shadows.get(request.model)  # an alias has a shadow no more than a version
        if shadow is None or random.random() >= shadow.share:  # noqa: S311 - no secret
            return
        if self._task is not None or self._clock() < self._next:
            self._observer.shadowed(request.model, "skipped")
            return
        # A task begins in a later turn of the loop, when the caller's answer has been written.
        self._task = asyncio.get_running_loop().create_task(self._copy(shadow, request, outputs))
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Give up the copy that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _copy(self, shadow: _Shadow, request: InferRequest, live: Outputs) -> None:
        began = self._clock()
        outcome = "failed"
        try:
            rows = validation.check(request, shadow.servable)
            copy = await self._runner.infer(
                shadow.servable,
                request.inputs,
                tuple(live),
                rows=rows,
                parameters=request.parameters,
                deadline=time.monotonic() + _SECONDS,
            )
            same = await asyncio.to_thread(agree, live, copy, shadow.tolerance)
            outcome = "agreed" if same else "disagreed"
        except LupineError:
            return  # it is counted as failed
        finally:
            now = self._clock()
            self._next = now + (now - began) * (1 / DUTY - 1)
            self._observer.shadowed(request.model, outcome)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"a shadow copy could not be made: {error}", "exception": error}
            )


def agree(live: Outputs, copy: Outputs, tolerance: float) -> bool:
    """Whether two answers are the same: floats within a tolerance, all else exactly. Pure.

    Args:
        live: of the version that answered.
        copy: of the shadow, by the same names.
        tolerance: the two differ by no more than tolerance · (1 + |the live one|), each number.
    """
    return all(
        name in copy
        and one.datatype == copy[name].datatype
        and one.shape == copy[name].shape
        and _close(one.array, copy[name].array, tolerance)
        for name, one in live.items()
    )


def _close(live: np.ndarray, copy: np.ndarray, tolerance: float) -> bool:
    if np.issubdtype(live.dtype, np.floating):
        return bool(np.allclose(copy, live, rtol=tolerance, atol=tolerance, equal_nan=True))
    return bool(np.array_equal(copy, live))
