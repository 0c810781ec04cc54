"""The composition root: builds the parts from settings, starts them bottom-up, stops top-down."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
from prometheus_client import values

from service.admission import Admission
from service.batching.batcher import Batcher
from service.dataplane import DataPlane
from service.engines import echo, onnx
from service.engines.in_process import InProcessEngine, Opener
from service.engines.triton import TritonEngine
from service.errors import ConfigurationError
from service.frontends.admin import AdminGate
from service.frontends.http import HttpFrontend
from service.frontends.http_body import Bodies
from service.protocol.ports import Engine
from service.repository.ledger import Ledger
from service.routing import RECHECK_SECONDS, Catalogue
from service.runner import endpoint
from service.settings import Settings
from service.telemetry import Telemetry

_SCRAPE_SECONDS = 1.0


class Gateway:
    """The parts of one worker.

    Args:
        settings: the effective settings; `engine.kind` has been decided, it is not `auto`.
        run_dir: the private folder that the processes of this gateway share.
    """

    def __init__(self, settings: Settings, run_dir: Path) -> None:
        self.settings = settings
        self._run_dir = run_dir
        self._ledger = Ledger(run_dir)
        self._addresses: Sequence[str] = ()
        self._addresses_of = -1  # the generation in which they were read
        self.telemetry = Telemetry()
        self.engine = self._engine()
        self._catalogue = Catalogue(self.engine, self._ledger)
        self.dataplane = DataPlane(
            engine=self.engine,
            catalogue=self._catalogue,
            admission=Admission(
                per_model=settings.admission.per_model, total=settings.admission.total
            ),
            batcher=Batcher(
                self.engine,
                self.telemetry,
                max_in_flight=settings.batching.in_flight,
                max_waiting=settings.batching.max_waiting,
            ),
            telemetry=self.telemetry,
        )
        self.http = HttpFrontend(
            self.dataplane,
            self.telemetry,
            AdminGate(settings.admin_key.get_secret_value(), settings.server.host),
            Bodies(
                max_bytes=settings.server.max_body_bytes,
                max_held=settings.server.max_buffered_bytes,
            ),
        )
        self._fresh: asyncio.Task[None] | None = None

    def _engine(self) -> Engine:
        settings = self.settings
        match settings.engine.kind:
            case "triton":
                return TritonEngine(self.triton_addresses, self._ledger)
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

    def triton_addresses(self) -> Sequence[str]:
        """Where Triton's gRPC is now: as configured, or where the guardian started it."""
        if self.settings.triton.url:
            return [part.strip() for part in self.settings.triton.url.split(",")]
        generation = self._ledger.current()  # the guardian starts a new one with each server
        if generation != self._addresses_of or not self._addresses:
            found = endpoint.read(self._run_dir)
            self._addresses = [found.grpc] if found else []
            self._addresses_of = generation
        return self._addresses

    async def start(self) -> None:
        """Start the engine, look at what it serves, and keep looking.

        Raises:
            ConfigurationError: the engine cannot start, and why.
        """
        await self.engine.start()
        await self._catalogue.refresh()
        self._fresh = asyncio.get_running_loop().create_task(
            self.dataplane.keep_fresh(RECHECK_SECONDS)
        )

    async def stop(self) -> None:
        """Stop what `start` started; safe after half a start."""
        if self._fresh is not None:
            self._fresh.cancel()
            with suppress(asyncio.CancelledError):
                await self._fresh
            self._fresh = None
        await self.engine.stop()
        self._ledger.close()

    async def metrics(self) -> bytes:
        """All workers' metrics, and Triton's own behind them."""
        own = await asyncio.to_thread(self.telemetry.exposition)
        return own + await self._triton_metrics()

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
    folder = run_dir / "metrics"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    # By default each update asks the kernel for the process id, in case of a fork: a fifth of a
    # worker's time. Workers never fork.
    process = os.getpid()
    values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]
