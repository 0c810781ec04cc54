"""MLflow's webhook: it says that something has changed, and the sync looks at once.

Source: MLflow 3.17, `mlflow.webhooks` (after the Standard Webhooks conventions): the header
`X-MLflow-Signature` is `v1,` and the Base64 of HMAC-SHA256 over "delivery id.timestamp.body".

A delivery is a bell and no more: nothing in its body is believed, or read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from service.errors import ForbiddenError, ShedError, UnauthenticatedError
from service.registry.bell import Bell

SIGNATURE, TIMESTAMP, DELIVERY = (
    "x-mlflow-signature",
    "x-mlflow-timestamp",
    "x-mlflow-delivery-id",
)
_FRESH_SECONDS = 300.0  # between the clocks of MLflow and of this host, and on the way
_SWEEP_SECONDS = 60.0
_PER_SECOND = 10.0  # deliveries that a worker looks at; MLflow tries again what was refused so
_BURST = 50.0


def sign(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    """The signature of a delivery."""
    content = f"{delivery}.{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhook:
    """Takes deliveries, in one worker of several.

    Args:
        secret: that MLflow signs with; empty: no delivery is taken.
        bell: is rung by each delivery.
        seen: a private folder that the workers share, of the deliveries that came; made.
        clock: seconds since 1970.
        monotonic: seconds.
    """

    def __init__(
        self,
        secret: str,
        bell: Bell,
        seen: Path,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secret = secret
        self._bell = bell
        self._seen = seen
        self._clock = clock
        self._monotonic = monotonic
        self._tokens, self._filled = _BURST, monotonic()
        self._swept = monotonic()

    def receive(self, headers: Mapping[str, str], body: bytes) -> None:
        """Check a delivery, and ring.

        Args:
            headers: by lower-case name.
            body: as it came.

        Raises:
            ForbiddenError: no secret is set, or the very delivery came before.
            ShedError: too many come.
            UnauthenticatedError: it is not signed with the secret, or not of now.
            OSError: the sync's folder, or the run folder, cannot be written.
        """
        if not self._secret:
            raise ForbiddenError(
                "no webhook is taken: set LUPINE_REGISTRY__WEBHOOK_SECRET to the webhook's secret"
            )
        self._take_turn()
        delivery, timestamp = headers.get(DELIVERY, ""), headers.get(TIMESTAMP, "")
        given = headers.get(SIGNATURE, "").encode("latin-1", "replace")
        expected = sign(self._secret, delivery, timestamp, body).encode()
        if not hmac.compare_digest(given, expected):
            raise UnauthenticatedError(
                f"{SIGNATURE} is not that of this body by the webhook's secret"
            )
        self._check_now(timestamp)
        self._check_new(delivery)
        self._bell.ring()

    def _take_turn(self) -> None:
        """A bucket of tokens that fills again."""
        now = self._monotonic()
        self._tokens = min(_BURST, self._tokens + (now - self._filled) * _PER_SECOND)
        self._filled = now
        if self._tokens < 1:
            raise ShedError(
                f"more than {_PER_SECOND:g} deliveries a second", reason="webhook", retry_after=1.0
            )
        self._tokens -= 1

    def _check_now(self, timestamp: str) -> None:
        # It is signed: a number, unless MLflow's own format has changed.
        off = abs(self._clock() - int(timestamp)) if timestamp.isdecimal() else float("inf")
        if off > _FRESH_SECONDS:
            raise UnauthenticatedError(
                f"{TIMESTAMP} {timestamp!r:.40} is not within {_FRESH_SECONDS:g} s of now"
            )

    def _check_new(self, delivery: str) -> None:
        """Note a delivery, for all workers at once."""
        self._seen.mkdir(exist_ok=True, mode=0o700)
        self._sweep()
        path = self._seen / hashlib.sha256(delivery.encode()).hexdigest()
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise ForbiddenError(f"the delivery {delivery!r:.60} came before") from None

    def _sweep(self) -> None:
        """Forget what is too old to come again; so few are left that no other bound is needed."""
        if self._monotonic() - self._swept < _SWEEP_SECONDS:
            return
        self._swept = self._monotonic()
        for path in self._seen.iterdir():
            if path.stat().st_mtime < self._clock() - 2 * _FRESH_SECONDS:
                path.unlink(missing_ok=True)
