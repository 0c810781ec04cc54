"""Who may enter: a permit per request, held until its answer has been made.

A plain bound on how many permits a model may have out; the learned controller takes its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import ShedError


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

    @contextmanager
    def permit(self, model: str) -> Iterator[None]:
        """Hold a permit for one request.

        Raises:
            ShedError: as many are out as may be.
        """
        if self._out[model] >= self._per_model:
            raise ShedError(
                f"model {model!r} has {self._per_model} requests in flight, its limit: retry later",
                reason="permits",
            )
        if self._all >= self._total:
            raise ShedError(
                f"the gateway has {self._total} requests in flight, its limit: retry later",
                reason="permits",
            )
        self._out[model] += 1
        self._all += 1
        try:
            yield
        finally:
            self._out[model] -= 1
            if not self._out[model]:
                del self._out[model]
            self._all -= 1
