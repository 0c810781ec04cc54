"""The composition root: builds the parts from settings, starts them bottom-up, stops top-down."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

from service.admission import Admission
from service.batching.batcher import Batcher
from service.dataplane import DataPlane
from service.engines import echo, onnx
from service.engines.in_process import InProcessEngine, Opener
from service.engines.shared_memory import Sharing
from service.engines.triton import TritonEngine, elsewhere
from service.engines.triton_server import Address
from service.errors import ConfigurationError
from service.frontends.admin import AdminGate
from service.frontends.grpc import GrpcFrontend
from service.frontends.grpc_server import GrpcServer
from service.frontends.handover import Handover
from service.frontends.held import HeldBytes
from service.frontends.http import HttpFrontend
from service.frontends.http_body import Bodies
from service.frontends.http_direct import DirectFrontend
from service.frontends.seats import Seats
from service.protocol.messages import Snapshot
from service.protocol.ports import Engine
from service.registry.bell import Bell
from service.registry.control import Control
from service.registry.exposition import exposition
from service.registry.webhook import Webhook
from service.repository.ledger import Ledger
from service.repository.routes import RoutesFile, folder_of
from service.routing import RECHECK_SECONDS, Catalogue
from service.runner import endpoint
from service.settings import Settings
from service.shadowing import Shadowing
from service.telemetry import Telemetry, workers
from service.wires import slot_file

_SCRAPE_SECONDS = 1.0
_STREAMS = 1024  # of gRPC, that may be open at once
_RPCS_BESIDE = 1024  # health and metadata, beside as many inferences as may enter


class Gateway:
    """The parts of one worker.

    Args:
        settings: the effective settings; `engine.kind` has been decided, it is not `auto`.
        run_dir: the private folder that the processes of this gateway share.
        alive: whether all of those processes have been there lately.
    """

    def __init__(
        self, settings: Settings, run_dir: Path, alive: Callable[[], bool] = lambda: True
    ) -> None:
        self.settings = settings
        self._run_dir = run_dir
        self._sync_folder = folder_of(settings.repository)
        self._ledger = Ledger(run_dir)
        self._addresses: Sequence[Address] = ()
        self._addresses_of = -1  # the generation in which they were read
        self.telemetry = Telemetry(settings.telemetry)
        self.engine = self._engine()
        batcher = Batcher(
            self.engine,
            self.telemetry,
            max_in_flight=settings.batching.in_flight,
            workers=max(1, settings.server.workers),
            max_waiting=settings.batching.max_waiting,
            max_bytes=settings.batching.max_bytes,
        )

        self._shadowing = Shadowing(batcher, self.telemetry)

        def serving(snapshot: Snapshot) -> None:
            self.telemetry.serving(snapshot, self._catalogue.routes)
            batcher.serving(snapshot)
            self._shadowing.serving(snapshot, self._catalogue.routes)

        self._catalogue = Catalogue(
            self.engine, self._ledger, serving, RoutesFile(self._sync_folder)
        )
        self.dataplane = DataPlane(
            engine=self.engine,
            catalogue=self._catalogue,
            admission=Admission(
                per_model=settings.admission.per_model, total=settings.admission.total
            ),
            batcher=batcher,
            telemetry=self.telemetry,
            shadowing=self._shadowing,
            alive=alive,
        )
        gate = AdminGate(settings.admin_key.get_secret_value(), settings.server.host)
        held = HeldBytes(settings.server.max_buffered_bytes)
        self.http = HttpFrontend(
            self.dataplane,
            self.telemetry,
            gate,
            Bodies(held, max_bytes=settings.server.max_body_bytes),
            self._control(),
        )
        self.direct = DirectFrontend(
            self.dataplane, self.telemetry, held, max_bytes=settings.server.max_body_bytes
        )
        seats = Seats(_STREAMS)
        self.handover = Handover(run_dir, settings.server.workers)
        self.grpc = GrpcServer(
            GrpcFrontend(self.dataplane, self.telemetry, gate, held, seats),
            self.dataplane,
            self.telemetry,
            settings.server,
            held=held,
            seats=seats,
            max_rpcs=settings.admission.total + _STREAMS + _RPCS_BESIDE,
            handover=self.handover,
        )
        self._fresh: asyncio.Task[None] | None = None

    def _control(self) -> Control:
        """Of the registry sync, which is another process."""
        bell = Bell(self._sync_folder)
        secret = self.settings.registry.webhook_secret.get_secret_value()
        return Control(self.settings, Webhook(secret, bell, self._run_dir / "deliveries"), bell)

    def _engine(self) -> Engine:
        settings = self.settings
        match settings.engine.kind:
            case "triton":
                return TritonEngine(self.triton_addresses, self._ledger, self._sharing())
            case "onnx":
                return self._in_process("onnx", onnx.opener())
            case "echo":
                return self._in_process("echo", echo.opener(settings.engine.echo_latency_ms / 1000))
            case "auto":
                raise ConfigurationError("the engine has not been chosen: `lupine serve` does it")

    def _in_process(self, name: str, opener: Opener) -> Engine:
        return InProcessEngine(
            name,
            self.settings.repository.path,
            opener,
            self._ledger,
            self.telemetry,
            threads=self.settings.engine.threads,
        )

    def _sharing(self) -> Sharing | None:
        """Of memory, where Triton is known to be on this host."""
        triton = self.settings.triton
        if triton.url or triton.shared_memory == "off":
            return None
        return Sharing(
            owner=slot_file.Worker(slot_file.gateway_id(self._run_dir), secrets.token_hex(4)),
            budget=triton.shared_memory_bytes,
            observer=self.telemetry,
        )

    def triton_addresses(self) -> Sequence[Address]:
        """Where Triton is now: as configured, or where the guardian started it."""
        if self.settings.triton.url:
            return elsewhere(self.settings.triton.url, self.settings.triton.http_url)
        generation = self._ledger.current()  # the guardian starts a new one with each server
        if generation != self._addresses_of or not self._addresses:
            found = endpoint.read(self._run_dir)
            self._addresses = [Address(found.grpc, found.http)] if found else []
            self._addresses_of = generation
        return self._addresses

    async def start(self) -> None:
        """Start the engine, look at what it serves, keep looking, and listen for gRPC.

        Raises:
            ConfigurationError: the engine cannot start, or the port is not to be had, and why.
        """
        self.telemetry.start()
        await self.engine.start()
        await self._catalogue.refresh()
        self._fresh = asyncio.get_running_loop().create_task(
            self.dataplane.keep_fresh(RECHECK_SECONDS)
        )
        await self.grpc.start()

    async def stop(self) -> None:
        """Stop what `start` started; safe after half a start."""
        await self.grpc.stop(0)
        await self._shadowing.stop()
        if self._fresh is not None:
            self._fresh.cancel()
            with suppress(asyncio.CancelledError):
                await self._fresh
            self._fresh = None
        await self.engine.stop()
        self._ledger.close()
        self.telemetry.stop()

    async def metrics(self) -> bytes:
        """All workers' metrics, the sync's, and Triton's own behind them."""
        own = await asyncio.to_thread(self.telemetry.exposition)
        synced = await asyncio.to_thread(exposition, self._sync_folder)
        return own + synced + await self._triton_metrics()

    async def _triton_metrics(self) -> bytes:
        url = self.settings.triton.metrics_url
        if self.settings.engine.kind == "triton" and not self.settings.triton.url:
            found = endpoint.read(self._run_dir)
            url = f"http://{found.metrics}/metrics" if found else ""
        if not url:
            return b""
        try:
            async with httpx.AsyncClient(timeout=_SCRAPE_SECONDS, trust_env=False) as client:
                answer = await client.get(url)
                answer.raise_for_status()
        except httpx.HTTPError:
            self.telemetry.scrape_failed()
            return b""
        return answer.content


def prepare_worker(run_dir: Path) -> None:
    """Give this worker's metrics their place, before the first of them is made."""
    workers.join(run_dir / "metrics")
