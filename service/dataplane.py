"""The verbs of the Open Inference Protocol, once, for every wire."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from service import __version__
from service.admission import Admission
from service.batching.batcher import Batcher
from service.errors import (
    DeadlineError,
    LupineError,
    ShedError,
    UnavailableError,
    UnsupportedError,
)
from service.protocol import validation
from service.protocol.messages import InferRequest, InferResponse, ModelState, Servable, Tensor
from service.protocol.ports import Engine
from service.routing import Catalogue
from service.telemetry import Telemetry

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")


_Answer = TypeVar("_Answer")


class EachResponse(Protocol):
    """Takes one answer of several."""

    async def __call__(self, response: InferResponse, *, final: bool, in_order: bool) -> None:
        """The answer, whether it is the last, and whether it must not overtake earlier requests'.

        Answers of decoupled models may.
        """


class DataPlane:
    """What a client may ask for. Wires decode, call, and encode."""

    def __init__(
        self,
        *,
        engine: Engine,
        catalogue: Catalogue,
        admission: Admission,
        batcher: Batcher,
        telemetry: Telemetry,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._admission = admission
        self._batcher = batcher
        self._telemetry = telemetry
        self._alive = alive
        self._draining = False
        self._answered_draining = 0

    async def infer(self, request: InferRequest) -> InferResponse:
        """Answer one inference.

        Raises:
            NotFoundError: no such model or version.
            InvalidRequestError: the request does not fit the model.
            UnsupportedError: the model answers several times.
            ShedError: too many requests are in flight or waiting.
            DeadlineError: its time ran out.
            EngineError: the model failed on it.
            UnavailableError: the engine is away.
        """

        async def run(servable: Servable, rows: int, deadline: float) -> InferResponse:
            if servable.decoupled:
                raise UnsupportedError(
                    f"model {servable.name!r} answers a request several times: "
                    "ask it by ModelStreamInfer, over gRPC"
                )
            return await self._once(request, servable, rows, deadline)

        return await self._admitted(request, run)

    async def infer_each(self, request: InferRequest, each: EachResponse) -> None:
        """Answer one inference as often as its model does.

        Args:
            request: what to infer.
            each: takes every answer, and whether it is the last. A decoupled model's last may have
                no outputs.

        Raises:
            LupineError: as `infer`.
        """

        async def run(servable: Servable, rows: int, deadline: float) -> InferResponse | None:
            if not servable.decoupled:
                return await self._once(request, servable, rows, deadline)

            async def answer(outputs: Mapping[str, Tensor], *, final: bool) -> None:
                await each(_response(request, servable, outputs), final=final, in_order=False)

            await self._engine.infer_each(
                servable,
                request.inputs,
                request.outputs or tuple(servable.outputs),
                parameters=request.parameters,
                deadline=deadline,
                each=answer,
                span=request.span,
            )
            return None

        response = await self._admitted(request, run)
        if response is not None:  # on its way it needs no permit, and its time was for computing
            await each(response, final=True, in_order=True)

    async def _once(
        self, request: InferRequest, servable: Servable, rows: int, deadline: float
    ) -> InferResponse:
        outputs = request.outputs or tuple(servable.outputs)
        answer = await self._batcher.infer(
            servable,
            request.inputs,
            outputs,
            rows=rows,
            parameters=request.parameters,
            deadline=deadline,
            span=request.span,
        )
        return _response(request, servable, {name: answer[name] for name in outputs})

    async def _admitted(
        self,
        request: InferRequest,
        run: Callable[[Servable, int, float], Awaitable[_Answer]],
    ) -> _Answer:
        """Run a request that fits its model, within its time, while it holds a permit."""
        started = time.monotonic()
        if request.deadline <= started:  # asyncio.timeout would let an engine begin all the same
            raise DeadlineError(
                f"the request for model {request.model!r:.200} came after its deadline"
            )
        wait = None if math.isinf(request.deadline) else request.deadline - started
        try:
            async with asyncio.timeout(wait) as clock:
                servable = await self._catalogue.resolve(request.model, request.version)
                rows = validation.check(request, servable)
                deadline = request.deadline
                if wait is None:
                    wait = servable.policy.default_timeout
                    deadline = started + wait
                    clock.reschedule(asyncio.get_running_loop().time() + wait)
                with self._admission.permit(servable.name):
                    self._telemetry.inflight(self._admission.inflight)
                    return await run(servable, rows, deadline)
        except TimeoutError:
            raise DeadlineError(
                f"the deadline passed {time.monotonic() - started:.3f} s after the request for "
                f"model {request.model!r:.200} arrived"
            ) from None
        except ShedError as error:
            self._telemetry.shed(self.label(request.model), error.reason)
            raise
        finally:
            self._telemetry.inflight(self._admission.inflight)
            if self._draining and not isinstance(sys.exception(), asyncio.CancelledError):
                self._answered_draining += 1

    def label(self, model: str) -> str:
        """The model's name where it is known, as metrics may show it; empty otherwise."""
        return model if self._catalogue.knows(model) else ""

    def drain(self) -> None:
        """From now on nothing here is ready, so that others send elsewhere; all is answered."""
        self._draining = True

    @property
    def inflight(self) -> int:
        """Inferences that hold a permit."""
        return self._admission.inflight

    @property
    def answered_draining(self) -> int:
        """Inferences answered, well or not, since `drain`."""
        return self._answered_draining

    def live(self) -> bool:
        """Whether the processes that make up this gateway have all been there lately."""
        return self._alive()

    async def ready(self) -> bool:
        """Whether an inference sent now has a chance."""
        return not self._draining and await self._engine.healthy()

    async def model_ready(self, model: str, version: str) -> bool:
        """Whether the version, or any where it is empty, is loaded.

        Raises:
            NotFoundError: no such model or version.
        """
        if not await self.ready():
            return False
        try:
            await self._catalogue.resolve(model, version)
        except UnavailableError:
            return False
        return True

    async def servable(self, model: str, version: str) -> tuple[Servable, Sequence[str]]:
        """The servable that answers for a name, and the versions that the name stands for."""
        found = await self._catalogue.resolve(model, version)
        return found, [found.version] if version else self._catalogue.versions(found.name)

    async def statistics(self, model: str, version: str) -> Sequence[Mapping[str, Any]]:
        """Triton's ModelStatistics as JSON: of a version, a model, or (empty names) all."""
        if model:
            await self._catalogue.resolve(model, version)
        return await self._engine.statistics(model, version)

    async def index(self, *, ready: bool) -> Sequence[ModelState]:
        """Every version that the repository holds, or the READY ones."""
        states = (await self._catalogue.snapshot()).index
        return [state for state in states if not ready or state.state == "READY"]

    async def load(self, model: str) -> None:
        """Load a model, or load it again.

        Raises:
            NotFoundError: the repository has no such model.
            InvalidRequestError: it cannot be loaded; what served before still does.
        """
        await self._engine.load(model)
        await self._catalogue.changed()

    async def unload(self, model: str) -> None:
        """Unload a model.

        Raises:
            NotFoundError: the repository has no such model.
        """
        await self._engine.unload(model)
        await self._catalogue.changed()

    async def keep_fresh(self, pause: float) -> None:
        """For ever: look at the engine again, every `pause` seconds."""
        while True:
            await asyncio.sleep(pause)
            try:
                await self._catalogue.refresh()
            except LupineError:
                continue  # the engine is away: requests say so, and the old snapshot stays

    @staticmethod
    def about() -> Mapping[str, Any]:
        """The server's name, version and the extensions it speaks."""
        return {
            "name": "lupine",
            "version": __version__,
            "extensions": list(EXTENSIONS),
        }


def _response(
    request: InferRequest, servable: Servable, outputs: Mapping[str, Tensor]
) -> InferResponse:
    return InferResponse(
        model=request.model, version=servable.version, id=request.id, outputs=outputs
    )
