"""An inference, from the request to the answer, once for every wire."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from service import admission
from service.admission import Admission, Permit, Promise
from service.batching.batcher import Batcher
from service.batching.member import Member
from service.errors import DeadlineError, LupineError, ShedError, UnsupportedError
from service.protocol import validation
from service.protocol.messages import InferRequest, InferResponse, Servable, Tensor
from service.protocol.ports import Engine
from service.routing import Catalogue
from service.shadowing import Shadowing
from service.telemetry import Telemetry

_TELL_SECONDS = 0.05  # that the gauge of inferences in flight is behind, at most

Answer = Callable[[InferResponse | LupineError], object]
"""Takes the response, or what failed."""
Outcome = Mapping[str, Tensor] | LupineError | None
"""The outputs, what failed, or neither: the answers went elsewhere."""


class EachResponse(Protocol):
    """Takes one answer of several."""

    async def __call__(self, response: InferResponse, *, final: bool, in_order: bool) -> None:
        """The answer, whether it is the last, and whether it must not overtake earlier requests'.

        Answers of decoupled models may.
        """


class Inference:
    """One under way: it has a permit. `Inferences.withdraw` ends it early.

    Args:
        request: what was asked.
        servable: what is asked.
        permit: held until the answer is made.
        ended: hears of the outcome.
        answer: takes it.
    """

    __slots__ = ("_answer", "_ended", "_request", "_servable", "member", "permit")

    def __init__(
        self,
        request: InferRequest,
        servable: Servable,
        permit: Permit,
        ended: Callable[[InferRequest, Outcome], object],
        answer: Answer,
    ) -> None:
        self._request = request
        self._servable = servable
        self._ended = ended
        self._answer = answer
        self.permit = permit
        self.member: Member | None = None

    def settle(self, outcome: Mapping[str, Tensor] | LupineError) -> None:
        """The outputs are there, or it is known why they never will be."""
        self.permit.release()
        self._ended(self._request, outcome)
        if isinstance(outcome, LupineError):
            self._answer(outcome)
            return
        names = self._request.outputs or self._servable.outputs  # in the order asked for
        outputs = {name: outcome[name] for name in names}
        self._answer(respond(self._request, self._servable, outputs))


class Inferences:
    """Looks up, validates, admits, batches, and answers.

    Args:
        engine: runs decoupled models.
        catalogue: knows what is loaded.
        admission: knows who may enter.
        batcher: runs all other models.
        telemetry: hears of what was shed, and of how many are in flight.
        shadowing: copies what was answered.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        catalogue: Catalogue,
        admission: Admission,
        batcher: Batcher,
        telemetry: Telemetry,
        shadowing: Shadowing,
    ) -> None:
        self._shadowing = shadowing
        self._engine = engine
        self._catalogue = catalogue
        self._admission = admission
        self._batcher = batcher
        self._telemetry = telemetry
        self._draining = False
        self._answered_draining = 0
        self._telling = False

    def label(self, model: str) -> str:
        """The model's name where it is known, as metrics may show it; empty otherwise."""
        name = model.partition("@")[0]  # aliases are no labels: the version is one
        return name if self._catalogue.knows(name) else ""

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

    async def infer(self, request: InferRequest, caller: int = 0) -> InferResponse:
        """Answer one inference; `caller` is as for `begin`.

        Raises:
            NotFoundError: no such model or version.
            InvalidRequestError: the request does not fit the model.
            UnsupportedError: the model answers several times.
            ShedError: it could not be answered in time, or too many are in flight or waiting.
            DeadlineError: its time ran out.
            EngineError: the model failed on it.
            UnavailableError: the engine is away.
        """
        if not self.prompt:
            await self._look_again(request)
        answered: asyncio.Future[InferResponse | LupineError]
        answered = asyncio.get_running_loop().create_future()

        def resolve(outcome: InferResponse | LupineError) -> None:
            if not answered.done():
                answered.set_result(outcome)

        inference = self.begin(request, resolve, caller)
        try:
            outcome = await answered
        except asyncio.CancelledError:
            self.withdraw(inference)
            raise
        if isinstance(outcome, LupineError):
            raise outcome
        return outcome

    @property
    def prompt(self) -> bool:
        """Whether what is loaded is known; else `infer` asks the engine first, and waits."""
        return self._catalogue.fresh()

    def begin(self, request: InferRequest, answer: Answer, caller: int = 0) -> Inference:
        """Begin one inference with what is known to be loaded; no task is made for it.

        Args:
            request: what to infer.
            answer: called once with the response or what failed, in a later turn of the loop,
                unless the inference is withdrawn before.
            caller: a number of the connection, where it may have several requests at once: callers
                take turns.

        Raises:
            LupineError: it is refused at once, as `infer` would; `answer` is not called.
        """
        now = time.monotonic()
        try:
            servable, rows = self._fitting(request, now)
            if servable.decoupled:
                raise UnsupportedError(
                    f"model {servable.name!r} answers a request several times: "
                    "ask it by ModelStreamInfer, over gRPC"
                )
            promise = admission.promise(request.deadline - now, servable.policy)
            permit = self._permit(request, servable, rows, promise, caller)
            inference = Inference(request, servable, permit, self._ended, answer)
            inference.member = member = Member(
                servable=servable,
                inputs=request.inputs,
                outputs=request.outputs or tuple(servable.outputs),
                rows=rows,
                parameters=request.parameters,
                deadline=now + promise.deadline,
                answer=inference.settle,
                until=now + promise.slo,
                priority=request.priority or servable.policy.priority,
                span=request.span,
                caller=caller,
                queued=now,
            )
            try:
                self._batcher.submit(member)
            except LupineError:
                permit.release()
                raise
        except LupineError as error:
            self._ended(request, error)
            raise
        return inference

    def withdraw(self, inference: Inference) -> None:
        """Nobody waits for this inference any more: it is not computed, if it can be helped."""
        if inference.member is not None:
            self._batcher.withdraw(inference.member)
        inference.permit.release()
        self._tell_soon()

    async def infer_each(self, request: InferRequest, each: EachResponse, caller: int = 0) -> None:
        """Answer one inference as often as its model does.

        Args:
            request: what to infer.
            each: takes every answer, and whether it is the last. A decoupled model's last may have
                no outputs.
            caller: as for `begin`.

        Raises:
            LupineError: as `infer`.
        """
        if not self.prompt:
            await self._look_again(request)
        now = time.monotonic()
        try:
            servable, rows = self._fitting(request, now)
        except LupineError as error:
            self._ended(request, error)
            raise
        if servable.decoupled:
            await self._each(request, servable, rows, each)
        else:
            # On its way an answer needs no permit, and its time was for computing.
            await each(await self.infer(request, caller), final=True, in_order=True)

    async def _each(
        self, request: InferRequest, servable: Servable, rows: int, each: EachResponse
    ) -> None:
        async def answer(outputs: Mapping[str, Tensor], *, final: bool) -> None:
            await each(respond(request, servable, outputs), final=final, in_order=False)

        started = time.monotonic()
        promise = admission.promise(request.deadline - started, servable.policy)
        outcome: LupineError | None = None
        try:
            with self._permit(request, servable, rows, promise, 0):
                async with asyncio.timeout(promise.deadline):
                    await self._engine.infer_each(
                        servable,
                        request.inputs,
                        request.outputs or tuple(servable.outputs),
                        parameters=request.parameters,
                        deadline=started + promise.deadline,
                        each=answer,
                        span=request.span,
                    )
        except TimeoutError:
            outcome = _late(request, started)
            raise outcome from None
        except LupineError as error:
            outcome = error
            raise
        except asyncio.CancelledError:
            self._tell_soon()
            raise
        else:
            self._ended(request, None)
        finally:
            if outcome is not None:
                self._ended(request, outcome)

    async def _look_again(self, request: InferRequest) -> None:
        """What is loaded has changed: ask the engine, for as long as the request may wait."""
        started = time.monotonic()
        if request.deadline <= started:
            return  # `begin` says so
        wait = None if math.isinf(request.deadline) else request.deadline - started
        try:
            async with asyncio.timeout(wait):
                await self._catalogue.refresh()
        except TimeoutError:
            self._ended(request, None)
            raise _late(request, started) from None
        except LupineError as error:
            self._ended(request, error)
            raise

    def _fitting(self, request: InferRequest, now: float) -> tuple[Servable, int]:
        """The servable that is asked, and the rows that it is asked for."""
        if request.deadline <= now:
            raise DeadlineError(
                f"the request for model {request.model!r:.200} came after its deadline"
            )
        servable = self._catalogue.pick(request.model, request.version, request.key or request.id)
        return servable, validation.check(request, servable)

    def _permit(
        self,
        request: InferRequest,
        servable: Servable,
        rows: int,
        promise: Promise,
        caller: int,
    ) -> Permit:
        priority = request.priority or servable.policy.priority
        forecast = self._batcher.forecast(servable, rows, priority, caller)
        admission.check(servable.name, promise, forecast)
        permit = self._admission.permit(servable.name)
        self._tell_soon()
        return permit

    def _ended(self, request: InferRequest, outcome: Outcome) -> None:
        """An inference was answered, well or not."""
        if isinstance(outcome, ShedError):
            self._telemetry.shed(self.label(request.model), outcome.reason)
        elif isinstance(outcome, Mapping):
            self._shadowing.answered(request, outcome)
        if self._draining:
            self._answered_draining += 1
        self._tell_soon()

    def _tell_soon(self) -> None:
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_later(_TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        self._telling = False
        self._telemetry.inflight(self._admission.inflight)


def respond(
    request: InferRequest, servable: Servable, outputs: Mapping[str, Tensor]
) -> InferResponse:
    """The answer of a servable to a request."""
    return InferResponse(
        model=request.model, version=servable.version, id=request.id, outputs=outputs
    )


def _late(request: InferRequest, started: float) -> DeadlineError:
    return DeadlineError(
        f"the deadline passed {time.monotonic() - started:.3f} s after the request for "
        f"model {request.model!r:.200} arrived"
    )
