"""The verbs of the Open Inference Protocol, once, for every wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from service import __version__
from service.admission import Admission
from service.batching.batcher import Batcher
from service.errors import LupineError, UnavailableError
from service.inference import Inferences
from service.protocol.messages import ModelState, Servable
from service.protocol.ports import Engine
from service.routing import Catalogue
from service.shadowing import Shadowing
from service.telemetry import Telemetry

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")


class DataPlane(Inferences):
    """What a client may ask for: inferences, and the verbs about server and models."""

    def __init__(
        self,
        *,
        engine: Engine,
        catalogue: Catalogue,
        admission: Admission,
        batcher: Batcher,
        telemetry: Telemetry,
        shadowing: Shadowing,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(
            engine=engine,
            catalogue=catalogue,
            admission=admission,
            batcher=batcher,
            telemetry=telemetry,
            shadowing=shadowing,
        )
        self._alive = alive

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

    async def routes_changed(self) -> Mapping[str, Mapping[str, str]]:
        """The routes were written anew: every worker looks before its next request.

        Gives the aliases of each model, as they are now.
        """
        await self._catalogue.changed()
        return {name: one.aliases for name, one in self._catalogue.routes.models.items()}

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
