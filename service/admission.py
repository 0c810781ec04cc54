"""Who may enter: a permit per request, held until its answer has been made.

One controller decides, by what the runs of a servable have been seen to cost: whoever would be
answered in time but for those ahead is told so at once, and not after waiting in vain. So the queue
is never longer than what can be kept, and under any overload the engine works on answers that
somebody still waits for.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from service.batching.schedule import Forecast
from service.errors import DeadlineError, ShedError
from service.protocol.messages import Policy

MARGIN = 0.8
"""Of what was promised, so much may be spent by the forecast; the rest is for what it misses."""


@dataclass(frozen=True, slots=True)
class Promise:
    """By when a request is to be answered, in seconds from now; infinite: no such promise.

    Args:
        deadline: when nobody waits any more.
        slo: what the model promises for all but one in a hundred.
    """

    deadline: float = math.inf
    slo: float = math.inf


def promise(left: float, policy: Policy) -> Promise:
    """What a request is promised that may take `left` seconds; infinite: it does not say."""
    deadline = policy.default_timeout if left == math.inf else left
    return Promise(deadline, math.inf if policy.slo_p99 is None else policy.slo_p99)


class Permit:
    """The right to be in flight; given back once."""

    __slots__ = ("_admission", "_model")

    def __init__(self, admission: Admission, model: str) -> None:
        self._admission: Admission | None = admission
        self._model = model

    def release(self) -> None:
        """Give it back; again does nothing."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission._give_back(self._model)  # noqa: SLF001 - the two are one thing

    def __enter__(self) -> None:
        """Hold it for as long as the block takes."""

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self.release()


class Admission:
    """Counts the permits out, per model and in all.

    Args:
        per_model: permits that one model may have out in this worker.
        total: permits that all models together may have out in this worker.
    """

    def __init__(self, *, per_model: int, total: int) -> None:
        self._per_model = per_model
        self._total = total
        self._out: Counter[str] = Counter()
        self._all = 0

    @property
    def inflight(self) -> int:
        """Permits out at this moment."""
        return self._all

    def permit(self, model: str) -> Permit:
        """A permit for one request.

        Raises:
            ShedError: as many are out as may be.
        """
        out = self._out[model]
        if out >= self._per_model:
            raise ShedError(
                f"model {model!r} has {self._per_model} requests in flight, its limit: retry later",
                reason="permits",
            )
        if self._all >= self._total:
            raise ShedError(
                f"the gateway has {self._total} requests in flight, its limit: retry later",
                reason="permits",
            )
        # The nearer the limit, the smaller the share of what is left that one model may have:
        # a busy model cannot close the door to the others.
        if out > self._total - self._all and len(self._out) > 1:
            raise ShedError(
                f"model {model!r} has {out} of the gateway's {self._total} requests in flight, "
                "more than its share beside other models: retry later",
                reason="share",
            )
        self._out[model] = out + 1
        self._all += 1
        return Permit(self, model)

    def _give_back(self, model: str) -> None:
        self._out[model] -= 1
        if not self._out[model]:
            del self._out[model]
        self._all -= 1


def check(model: str, promise: Promise, forecast: Forecast, margin: float = MARGIN) -> None:
    """Refuse at once what could not be answered in time. Pure.

    Args:
        model: its name, for the refusal.
        promise: by when the answer is wanted.
        forecast: what it would meet.
        margin: of what was promised, the share that the forecast may spend.

    Raises:
        DeadlineError: its deadline is shorter than the model takes, even unloaded.
        ShedError: it would be in time but for those ahead.
    """
    wait, service = forecast.wait, forecast.service
    allowed = margin * min(promise.deadline, promise.slo)
    late = bool(wait) and wait + service > allowed
    # Who could be served now is judged by the fastest run, not by what is usual: a few slow ones,
    # of a cold model or behind a run that was given up, would turn requests away that could have
    # been answered, and nothing faster would be learned.
    alone = max(forecast.least, forecast.alone if late else 0.0)
    if alone > promise.deadline:
        raise DeadlineError(
            f"the deadline is in {max(promise.deadline, 0.0):.3f} s, "
            f"model {model!r} takes {alone:.3f} s unloaded"
        )
    if late:
        kind = "deadline" if promise.deadline <= promise.slo else "SLO"
        raise ShedError(
            f"model {model!r} is busy: the answer would take {wait + service:.3f} s, its {kind} "
            f"leaves {min(promise.deadline, promise.slo):.3f} s: retry later",
            reason="late",
            retry_after=max(1.0, wait + service - allowed),
        )
