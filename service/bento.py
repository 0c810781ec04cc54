"""The BentoML service `Gateway`: what `bentoml serve service.bento:Gateway` and the bento start.

Importing this module does nothing. In the supervisor `on_deployment` makes the private folder and
starts the guardian of tritonserver; each worker builds a `service.gateway.Gateway`, which
answers `/v2` ahead of BentoML's middleware.
"""

from __future__ import annotations

import asyncio
import gc
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import bentoml
from _bentoml_impl.server.allocator import ResourceAllocator
from _bentoml_sdk import Service
from bentoml.exceptions import BentoMLException
from bentoml.images import Image
from starlette.responses import JSONResponse

from service import settings as settings_module
from service.apis import file_type
from service.apis.identify import Identification
from service.errors import ConfigurationError, LupineError
from service.frontends import http_access, http_protocol, status
from service.frontends.docs import Docs
from service.frontends.edge import App, Edge
from service.frontends.http import CONTROL, PREFIX
from service.frontends.http_body import Receive
from service.frontends.http_call import Scope, Send
from service.gateway import Gateway as Parts
from service.gateway import prepare_worker
from service.lifecycle import Drain, uvicorn_server
from service.protocol import deadline
from service.runner import bundle, deployment, lifeline, ports, roll, run_folder, worker
from service.runner.roll import Roll

# A request leaves no cycles behind; by default it would be looked for them after every few.
_GC_THRESHOLDS = 5_000, 10, 10
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"


class GatewayService(Service[Any]):
    """BentoML's service, with the data plane in front of its middleware."""

    parts: Parts
    roll: Roll

    def inject_config(self) -> None:
        """Let our settings decide what BentoML's own would: address, workers, what is off."""
        settings = bundle.load()
        self.config.update(
            workers=deployment.worker_count(settings),
            http={
                "host": ports.numeric_address(settings.server.host),
                "port": settings.server.port,
            },
            traffic={"timeout": deadline.MAX_SECONDS},  # deadlines are ours
            metrics={"enabled": False},
            logging={"access": {"enabled": False}},
            runner_probe={"enabled": False},
        )
        super().inject_config()
        # BentoML's own configuration has the last word. Every process must know the outcome.
        workers, _ = ResourceAllocator().get_worker_env(self)
        os.environ[settings_module.variable("server.workers")] = str(workers)

    def to_asgi(self, is_main: bool = True) -> Any:  # noqa: FBT001, FBT002 - BentoML's signature
        """The worker's application."""
        settings = worker.bound(settings_module.load()[0])
        run_dir = run_folder.locate(settings)
        prepare_worker(run_dir)
        http_protocol.install(settings.server)
        self.roll = Roll(
            run_dir,
            workers=deployment.worker_count(settings),
            guarded=deployment.needs_guardian(settings),
        )
        try:
            self.parts = Parts(settings, run_dir, self.roll.alive)
        except Exception as error:  # noqa: BLE001 - whatever it is, this worker cannot start
            worker.give_up(run_dir, error)
        http_protocol.answer_directly(self.parts.direct)
        inner = Docs(super().to_asgi(is_main), self._typed_apis)
        return _Front(self.parts, inner)

    def _typed_apis(self) -> Any:
        return self.openapi_spec.asdict()


class _Front:
    """Sends each request to the data plane or to BentoML."""

    def __init__(self, parts: Parts, bento: App) -> None:
        self._parts = parts
        self._bento = self._edge(bento)
        self._metrics = self._edge(partial(_metrics, parts))

    def _edge(self, app: App) -> Edge:
        return Edge(
            app,
            max_bytes=self._parts.settings.server.max_body_bytes,
            telemetry=self._parts.telemetry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] == "http" and f"{path}/".startswith((f"{PREFIX}/", f"{CONTROL}/")):
            await self._parts.http(scope, receive, send)
        elif scope["type"] == "http" and path == "/metrics":
            await self._metrics(scope, receive, send)
        else:
            await self._bento(scope, receive, send)


async def _metrics(parts: Parts, _scope: Scope, _receive: Receive, send: Send) -> None:
    body = await parts.metrics()
    head = [(b"content-type", _METRICS), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


class _Environment(Image):
    """What `bentoml build` packs around the service; a bento that lacks a model is none."""

    def freeze(self, bento_fs: Path, *arguments: Any, **options: Any) -> Any:
        """The last step of a build: everything else is in `bento_fs` by now."""
        try:
            bundle.check(bento_fs / "src")
        except ConfigurationError as error:
            raise BentoMLException(error.message) from None
        return super().freeze(bento_fs, *arguments, **options)

    def _freeze_python_requirements(self, *_: Any) -> str:
        # They are pinned. BentoML would fetch uv from the network first, though nothing is to lock.
        return str(self.python_requirements)


@bentoml.service(name="Gateway", service_class=GatewayService, image=_Environment())
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
        service = self.bento_service
        self._run_dir = run_dir = Path(os.environ[settings_module.variable("run_dir")])
        server = uvicorn_server()
        self._present = lifeline.hold(run_dir, lifeline.WORKERS), roll.enter(run_dir)
        try:
            await service.parts.start()
            await asyncio.to_thread(worker.check_wires, service.parts.settings)
        except Exception as error:  # noqa: BLE001 - whatever it is, this worker cannot start
            with suppress(Exception):
                await service.parts.stop()
            worker.give_up(run_dir, error)
        # What is there by now lives as long as the worker. Walking it again and again, the
        # collector would hold up requests for tens of milliseconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        self._calling = asyncio.get_running_loop().create_task(service.roll.keep())
        self._drain = Drain(server, service.parts, run_dir)
        self._drain.watch()
        worker.announce(service.parts.settings, run_dir)

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """In each worker, after its drain."""
        self._calling.cancel()
        await self._drain.stop()
        lives, _ = self._present
        lives.close()
        run_folder.abandon(self._run_dir)

    async def __is_alive__(self) -> bool:
        """For BentoML's /livez."""
        return self.bento_service.roll.alive()

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
            span = ctx.request.scope.get(http_access.SPAN)
            return await file_type.identify_file(dataplane, content, wait, span)
        except LupineError as error:
            ctx.response.status_code = status.HTTP[type(error)]  # BentoML heeds no other
            return _refusal(error)  # type: ignore[return-value]  # BentoML passes it on as it is


def _refusal(error: LupineError) -> JSONResponse:
    """A failure, as every other path of the gateway answers it."""
    return JSONResponse(
        {"error": error.message},
        status_code=status.HTTP[type(error)],
        headers=status.retry_after(error),
    )
