"""The Protocols through which the core speaks to what it does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from service.protocol.messages import Parameter, Servable, Snapshot, Tensor
from service.protocol.span import Span


class EachOutputs(Protocol):
    """Takes one answer of several."""

    async def __call__(self, outputs: Mapping[str, Tensor], *, final: bool) -> None:
        """The answer's outputs, and whether it is the last."""


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
        inputs: Sequence[Mapping[str, Tensor]],
        outputs: Sequence[str],
        *,
        parameters: Mapping[str, Parameter],
        deadline: float,
        span: Span | None = None,
    ) -> Mapping[str, Tensor]:
        """Run one batch and return the named outputs, of all its requests together.

        Args:
            servable: the version to run.
            inputs: of each request that the run answers, every required input. They are joined
                along the first axis, where they are to lie (`protocol.concat`): they agree in
                names, datatypes and trailing shapes. One alone is taken as it is.
            outputs: the names wanted, at least one.
            parameters: the request's own, which an engine may hand to the model.
            deadline: seconds of `time.monotonic()` after which nobody waits any more.
            span: whose trace the run continues, in an engine behind a wire.

        Raises:
            EngineError: it failed on this input.
            UnavailableError: the engine is away.
            DeadlineError: the deadline passed.
            NotFoundError: the version is not there any more.
        """

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
        """Run a decoupled servable, and hand on its answers as they come.

        Args:
            servable: the version to run.
            inputs: every required input.
            outputs: the names wanted; an answer may hold fewer.
            parameters: the request's own.
            deadline: seconds of `time.monotonic()` after which nobody waits any more.
            each: takes the outputs of one answer, and whether it is the last; the last may be
                empty.
            span: as `infer`.

        Raises:
            UnsupportedError: the engine runs no decoupled models.
            LupineError: as `infer`.
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
