"""The verbs of the Open Inference Protocol, once, for every wire."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version as package_version
from typing import Any

from service.admission import Admission
from service.batching.batcher import Batcher
from service.errors import DeadlineError, LupineError, ShedError, UnavailableError
from service.protocol import validation
from service.protocol.messages import InferRequest, InferResponse, ModelState, Servable
from service.protocol.ports import Engine
from service.routing import Catalogue
from service.telemetry import Telemetry

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")


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
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._admission = admission
        self._batcher = batcher
        self._telemetry = telemetry

    async def infer(self, request: InferRequest) -> InferResponse:
        """Answer one inference.

        Raises:
            NotFoundError: no such model or version.
            InvalidRequestError: the request does not fit the model.
            ShedError: too many requests are in flight or waiting.
            DeadlineError: its time ran out.
            EngineError: the model failed on it.
            UnavailableError: the engine is away.
        """
        started = time.monotonic()
        if request.deadline <= started:  # asyncio.timeout would let an engine begin all the same
            raise DeadlineError(f"the request for model {request.model!r} came after its deadline")
        wait = None if math.isinf(request.deadline) else request.deadline - started
        try:
            async with asyncio.timeout(wait) as clock:
                servable = await self._catalogue.resolve(request.model, request.version)
                rows = validation.check(request, servable)
                outputs = request.outputs or tuple(servable.outputs)
                deadline = request.deadline
                if wait is None:
                    wait = servable.policy.default_timeout
                    deadline = started + wait
                    clock.reschedule(asyncio.get_running_loop().time() + wait)
                with self._admission.permit(servable.name):
                    self._telemetry.inflight(self._admission.inflight)
                    answer = await self._batcher.infer(
                        servable,
                        request.inputs,
                        outputs,
                        rows=rows,
                        parameters=request.parameters,
                        deadline=deadline,
                    )
        except TimeoutError:
            raise DeadlineError(
                f"the deadline passed {time.monotonic() - started:.3f} s after the request for "
                f"model {request.model!r} arrived"
            ) from None
        except ShedError as error:
            self._telemetry.shed(self.label(request.model), error.reason)
            raise
        finally:
            self._telemetry.inflight(self._admission.inflight)
        return InferResponse(
            model=request.model,
            version=servable.version,
            id=request.id,
            outputs={name: answer[name] for name in outputs},
        )

    def label(self, model: str) -> str:
        """The model's name where it is known, as metrics may show it; empty otherwise."""
        return model if self._catalogue.knows(model) else ""

    async def ready(self) -> bool:
        """Whether an inference sent now has a chance."""
        return await self._engine.healthy()

    async def model_ready(self, model: str, version: str) -> bool:
        """Whether the version, or any where it is empty, is loaded.

        Raises:
            NotFoundError: no such model or version.
        """
        if not await self._engine.healthy():
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
            "version": package_version("lupine-gateway"),
            "extensions": list(EXTENSIONS),
        }
