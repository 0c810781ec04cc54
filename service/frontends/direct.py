"""A plain inference without a task, as far as it is the same on both wires.

`http_direct.py` and `grpc_direct.py` say how it arrives and how it is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from service.dataplane import DataPlane
from service.errors import LupineError
from service.frontends.held import HeldBytes
from service.inference import Inference
from service.protocol.messages import InferRequest, InferResponse
from service.telemetry import Telemetry

_log = logging.getLogger(__name__)


class DirectParts:
    """What all plain inferences of a wire share.

    Args:
        dataplane: answers them.
        telemetry: hears of each.
        held: counts the bytes of requests.
        max_bytes: of one.
    """

    def __init__(
        self, dataplane: DataPlane, telemetry: Telemetry, held: HeldBytes, *, max_bytes: int
    ) -> None:
        self.dataplane = dataplane
        self.telemetry = telemetry
        self.held = held
        self.max_bytes = max_bytes


class DirectInference:
    """One of them, on its way to the data plane and back."""

    __slots__ = ()  # those of the two kinds differ: they have the places of what is declared here

    _frontend: DirectParts
    _id: bytes
    _model: str
    _held: int
    _inference: Inference | None
    _task: asyncio.Task[None] | None

    def _put(self, request: InferRequest, caller: int = 0) -> None:
        """Ask the data plane; `_settled` hears of the outcome.

        Args:
            request: what to infer.
            caller: a number of the connection, where it may have several requests at once.

        Raises:
            LupineError: it is refused at once.
        """
        dataplane = self._frontend.dataplane
        if dataplane.prompt:
            inference = dataplane.begin(request, self._settled, caller)
            self._inference = inference  # type: ignore[misc]  # a place of theirs
        else:
            self._start(self._ask(request, caller))

    async def _ask(self, request: InferRequest, caller: int) -> None:
        """What is loaded has changed: the engine is asked first."""
        outcome: InferResponse | LupineError
        try:
            outcome = await self._frontend.dataplane.infer(request, caller)
        except LupineError as error:
            outcome = error
        except Exception:  # noqa: BLE001 - a defect of ours is answered as every failure, and logged
            self._broke()
            return
        self._settled(outcome)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)  # type: ignore[misc]  # as above

    def _withdraw(self) -> None:
        """Nobody waits for the answer."""
        if self._inference is not None:
            self._frontend.dataplane.withdraw(self._inference)
        if self._task is not None:
            self._task.cancel()

    def _settled(self, outcome: InferResponse | LupineError) -> None:
        """The outcome is known."""
        raise NotImplementedError

    def _broke(self) -> None:
        """A defect of ours is being handled: log it, and answer."""
        self._tell_broken(self._logged())

    def _logged(self) -> str:
        """Log the defect that is being handled. Returns what the client is told."""
        name = self._id.decode()
        _log.exception("request %s failed", name)
        return f"an error of the gateway itself; its log has it as {name}"

    def _tell_broken(self, text: str) -> None:
        """Answer that we broke."""
        raise NotImplementedError

    def _label(self) -> str:
        return self._frontend.dataplane.label(self._model)

    def _release(self) -> None:
        """Its bytes are held no more."""
        self._frontend.held.let_go(self._held)
        self._held = 0  # type: ignore[misc]  # as above
