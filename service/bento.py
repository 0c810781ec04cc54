"""The BentoML service `Gateway`: what `bentoml serve service.bento:Gateway` and the bento start.

Importing this module does nothing. In the supervisor `on_deployment` makes the private folder and
starts the guardian of tritonserver; each worker builds a `service.gateway.Gateway`, which
answers `/v2` ahead of BentoML's middleware.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from pathlib import Path
from typing import Any

import bentoml
from _bentoml_sdk import Service
from starlette.responses import JSONResponse

from service import settings as settings_module
from service.apis import file_type
from service.apis.identify import Identification
from service.errors import LupineError
from service.frontends import http_protocol, status
from service.frontends.docs import Docs
from service.frontends.edge import Edge
from service.frontends.http import PREFIX
from service.frontends.http_body import Receive
from service.frontends.http_call import Scope, Send
from service.gateway import Gateway as Parts
from service.gateway import prepare_worker
from service.protocol import deadline
from service.runner import deployment, entry, lifeline, run_folder

_METRICS = b"text/plain; version=0.0.4; charset=utf-8"


class GatewayService(Service[Any]):
    """BentoML's service, with the data plane in front of its middleware."""

    parts: Parts

    def inject_config(self) -> None:
        """Let our settings decide what BentoML's own would: address, workers, what is off."""
        settings, _ = settings_module.load()
        self.config.update(
            workers=deployment.worker_count(settings),
            http={
                "host": entry.numeric_address(settings.server.host),
                "port": settings.server.port,
            },
            traffic={"timeout": deadline.MAX_SECONDS},  # deadlines are ours
            metrics={"enabled": False},
            logging={"access": {"enabled": False}},
            runner_probe={"enabled": False},
        )
        super().inject_config()

    def to_asgi(self, is_main: bool = True) -> Any:  # noqa: FBT001, FBT002 - BentoML's signature
        """The worker's application."""
        settings = deployment.bound(settings_module.load()[0])
        run_dir = run_folder.locate(settings)
        prepare_worker(run_dir)
        http_protocol.install(settings.server)
        self.parts = Parts(settings, run_dir)
        inner = Docs(super().to_asgi(is_main), self._typed_apis)
        return _Front(self.parts, Edge(inner, max_bytes=settings.server.max_body_bytes))

    def _typed_apis(self) -> Any:
        return self.openapi_spec.asdict()


class _Front:
    """Sends each request to the data plane or to BentoML."""

    def __init__(self, parts: Parts, bento: Edge) -> None:
        self._parts = parts
        self._bento = bento

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] == "http" and (path.startswith(f"{PREFIX}/") or path == PREFIX):
            await self._parts.http(scope, receive, send)
        elif scope["type"] == "http" and path == "/metrics":
            await _metrics(self._parts, send)
        else:
            await self._bento(scope, receive, send)


async def _metrics(parts: Parts, send: Send) -> None:
    body = await parts.metrics()
    head = [(b"content-type", _METRICS), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


@bentoml.service(name="Gateway", service_class=GatewayService)
class Gateway:
    """Models over the Open Inference Protocol, and typed task APIs."""

    bento_service: GatewayService

    @bentoml.on_deployment
    def deploy() -> None:  # BentoML calls it on the class
        """Once, in the supervisor, before any worker."""
        deployment.deploy()

    @bentoml.on_startup
    async def start(self) -> None:
        """In each worker."""
        run_dir = Path(os.environ[settings_module.variable("run_dir")])
        self._alive = lifeline.hold(run_dir, lifeline.WORKERS)
        await self.bento_service.parts.start()
        # What is there by now lives as long as the worker. Walking it again and again, the
        # collector would hold up requests for tens of milliseconds.
        gc.collect()
        gc.freeze()
        self._orphaned = asyncio.get_running_loop().create_task(_quit_with_supervisor(run_dir))
        deployment.announce(self.bento_service.parts.settings, run_dir)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """In each worker, after the requests in flight."""
        self._orphaned.cancel()
        await self.bento_service.parts.stop()
        self._alive.close()

    async def __is_ready__(self) -> bool:
        """For BentoML's /readyz."""
        return await self.bento_service.parts.dataplane.ready()

    @bentoml.api(route="/identify")
    async def identify(self, file: Path, ctx: bentoml.Context) -> Identification:
        """Tell the type of a file by its content, with Google's magika model."""
        content = await asyncio.to_thread(file.read_bytes)
        dataplane = self.bento_service.parts.dataplane
        try:
            wait = deadline.from_header(ctx.request.headers.get(deadline.HEADER))
            return await file_type.identify_file(dataplane, content, wait)
        except LupineError as error:
            return _refusal(error)  # type: ignore[return-value]  # BentoML passes it on as it is


def _refusal(error: LupineError) -> JSONResponse:
    """A failure, as every other path of the gateway answers it."""
    return JSONResponse(
        {"error": error.message},
        status_code=status.HTTP[type(error)],
        headers=status.retry_after(error),
    )


async def _quit_with_supervisor(run_dir: Path) -> None:
    """Drain and exit when the supervisor is gone, by whatever death."""
    await lifeline.gone(run_dir)
    sys.stderr.write("lupine: the supervisor is gone; this worker drains and exits\n")
    os.kill(os.getpid(), signal.SIGTERM)
