"""What is under `/lupine/v1`: for whoever may administer, and for MLflow's webhook."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from service.dataplane import DataPlane
from service.errors import InvalidRequestError, NotFoundError
from service.frontends import http_intake
from service.frontends.admin import AdminGate
from service.frontends.http_body import Bodies
from service.frontends.http_call import Call
from service.protocol.routes import CHAMPION
from service.telemetry import Telemetry

_KNOWN = ("alias", "model")


class Syncing(Protocol):
    """The registry sync, as `registry.control.Control` is one."""

    def deliver(self, headers: Mapping[str, str], body: bytes) -> None:
        """Take a delivery of a webhook: its headers, by lower-case name, and body."""

    def look(self) -> None:
        """Have whoever watches the registry look at it now."""

    def status(self) -> Mapping[str, Any]:
        """What is synced, routed and refused."""

    def roll_back(self, model: str, alias: str) -> Mapping[str, Any]:
        """Let an alias name the version before; blocks."""


class Administration:
    """Answers what `HttpFrontend` passes on.

    Args:
        dataplane: looks at the routes again.
        telemetry: counts deliveries.
        gate: says who may.
        bodies: of requests.
        syncing: is asked.
    """

    def __init__(
        self,
        dataplane: DataPlane,
        telemetry: Telemetry,
        gate: AdminGate,
        bodies: Bodies,
        syncing: Syncing,
    ) -> None:
        self._dataplane = dataplane
        self._telemetry = telemetry
        self._gate = gate
        self._bodies = bodies
        self._syncing = syncing

    async def dispatch(self, call: Call, segments: Sequence[str]) -> None:
        """Answer a call.

        Args:
            call: the request.
            segments: of its path, below `/lupine`.
        """
        match segments:
            case ["v1", "routes"]:
                self._check(call, "POST")
                await call.reply(await self._dataplane.routes_changed())
            case ["v1", "sync"]:
                await self._sync(call)
            case ["v1", "rollback"]:
                self._check(call, "POST")
                await self._roll_back(call)
            case ["v1", "webhooks", "mlflow"]:
                call.allow("POST")
                await self._deliver(call)
            case _:
                raise NotFoundError(
                    "no such path under /lupine: v1/sync, v1/rollback, v1/routes and "
                    "v1/webhooks/mlflow are there"
                )

    def _check(self, call: Call, *methods: str) -> None:
        call.allow(*methods)
        self._gate.check(call.peer, http_intake.text(call.headers))

    async def _sync(self, call: Call) -> None:
        self._check(call, "GET", "POST")
        if call.method == "POST":
            await asyncio.to_thread(self._syncing.look)
        await call.reply(await asyncio.to_thread(self._syncing.status))

    async def _roll_back(self, call: Call) -> None:
        asked = await http_intake.read_object(self._bodies, call)
        if unknown := sorted(set(asked) - set(_KNOWN)):
            raise InvalidRequestError(f"{unknown[0]!r:.60} is unknown: model and alias are known")
        model, alias = asked.get("model"), asked.get("alias", CHAMPION)
        if not isinstance(model, str) or not isinstance(alias, str):
            raise InvalidRequestError('{"model": <name>, "alias": <name>} is expected')
        await call.reply(await asyncio.to_thread(self._syncing.roll_back, model, alias))

    async def _deliver(self, call: Call) -> None:
        """A delivery of MLflow's: its signature is the credential."""
        body = await http_intake.read(self._bodies, call)
        heard = False
        try:
            self._syncing.deliver(http_intake.text(call.headers), bytes(body.data))
            heard = True
        finally:
            body.release()
            self._telemetry.webhook(heard=heard)
        await call.reply({"heard": heard})
