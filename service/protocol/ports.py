"""The Protocols through which the core speaks to what it does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from service.protocol.messages import Parameter, Servable, Snapshot, Tensor


class Engine(Protocol):
    """Runs models. Everything it is handed has been validated against the servable."""

    @property
    def name(self) -> str:
        """A word for logs and the doctor: `triton`, `onnx` or `echo`."""

    async def start(self) -> None:
        """Make ready to serve.

        Raises:
            ConfigurationError: it cannot, and why.
        """

    async def stop(self) -> None:
        """Let go of everything. Safe to call after a start that failed."""

    async def healthy(self) -> bool:
        """Whether an inference sent now has a chance."""

    async def snapshot(self) -> Snapshot:
        """The index and the servables as they are now.

        Raises:
            UnavailableError: the engine cannot be asked.
        """

    async def infer(
        self,
        servable: Servable,
        inputs: Mapping[str, Tensor],
        outputs: Sequence[str],
        *,
        parameters: Mapping[str, Parameter],
        deadline: float,
    ) -> Mapping[str, Tensor]:
        """Run one batch and return the named outputs.

        Args:
            servable: the version to run.
            inputs: every required input; for a batching servable the first axis is the rows.
            outputs: the names wanted, at least one.
            parameters: the request's own, which an engine may hand to the model.
            deadline: seconds of `time.monotonic()` after which nobody waits any more.

        Raises:
            EngineError: it failed on this input.
            UnavailableError: the engine is away.
            DeadlineError: the deadline passed.
            NotFoundError: the version is not there any more.
        """

    async def load(self, model: str) -> None:
        """Load, or load again from disk, every version that the model's config selects.

        Raises:
            NotFoundError: the repository has no such model.
            InvalidRequestError: it cannot be loaded, and why; what served before still does.
        """

    async def unload(self, model: str) -> None:
        """Let the model go. Unknown models raise NotFoundError."""

    async def statistics(self, model: str, version: str) -> Sequence[Mapping[str, Any]]:
        """Triton's ModelStatistics as JSON, for one version, one model, or (empty names) all."""
