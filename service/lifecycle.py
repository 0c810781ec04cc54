"""The end of a worker's life: what it owes to those who call it while it goes.

The order, and why it is this one, is in `docs/adr/0006`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

from service.frontends import http_protocol
from service.frontends.handover import Wire
from service.frontends.http_server import HttpServer
from service.gateway import Gateway
from service.runner import lifeline, marks

_POLL_SECONDS = 0.02
_HURRIED_SECONDS = 0.5
"""What is in flight has so long after a second signal."""
_TOLD_SECONDS = 0.25  # after its own signal a worker learns within this what the supervisor's meant
_SETTLE_SECONDS = 0.2  # what has been cut is gone after so long
_STOP_SECONDS = 3.0
_EXIT_SECONDS = 1.0
_CUT = "this gateway is shutting down, and the request took too long: send it to another"


def uvicorn_server() -> uvicorn.Server:
    """The server that runs this process. While it does, its methods handle the signals.

    Raises:
        RuntimeError: none does; the caller is not in a worker of BentoML's.
    """
    handler = signal.getsignal(signal.SIGTERM)
    server = getattr(handler, "__self__", None)
    if not isinstance(server, uvicorn.Server):
        raise RuntimeError(f"SIGTERM is handled by {handler!r}, not by uvicorn")  # noqa: TRY004
    return server


class Drain:
    """Ends one worker, once it is told to.

    Args:
        server: the HTTP server; it is told to exit when nothing is left for it to do.
        parts: what it serves.
        run_dir: the private folder of this gateway.
    """

    def __init__(self, server: uvicorn.Server, parts: Gateway, run_dir: Path) -> None:
        self._server = server
        self._http = HttpServer(server, parts.handover)
        self._parts = parts
        self._run_dir = run_dir
        self._began = 0.0
        self._hurried: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._orphaned: asyncio.Task[None] | None = None
        self._opened: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Begin at SIGTERM, at SIGINT, and when the supervisor is gone, by whatever death."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.begin)
        self._orphaned = loop.create_task(self._orphan())
        self._opened = loop.create_task(self._open())

    async def _open(self) -> None:
        """Share the connections with the other workers, once there are any."""
        await self._until(lambda: self._server.started)
        self._http.take_over()
        if self._task is not None:
            return  # it ends before it began
        self._parts.handover.join({Wire.HTTP: self._http.serve, Wire.GRPC: self._parts.grpc.serve})

    async def _orphan(self) -> None:
        await lifeline.gone(self._run_dir)
        if self._task is None:
            sys.stderr.write("lupine: the supervisor is gone; this worker drains and exits\n")
        self.begin()

    def begin(self) -> None:
        """Begin to drain; a second call does nothing. Who is in a hurry leaves a mark."""
        if self._task is None:
            self._began = time.monotonic()
            self._task = asyncio.get_running_loop().create_task(self._drain())
            # Before it, in this very turn of the loop: nobody is told to come here.
            self._parts.dataplane.drain()
            http_protocol.drain(self._connections())

    async def stop(self) -> None:
        """Stop the parts. The process ends soon after, whatever an engine's thread is still at."""
        if self._orphaned is not None:
            self._orphaned.cancel()
        # The engine, and Python, wait for every thread; and the run of a model that nobody waits
        # for any more may take a thread minutes.
        with suppress(TimeoutError):
            async with asyncio.timeout(_HURRIED_SECONDS if self._is_hurried() else _STOP_SECONDS):
                await self._parts.stop()
        last = threading.Timer(_EXIT_SECONDS, os._exit, (0,))
        last.daemon = True
        last.start()

    async def _drain(self) -> None:
        limits = self._parts.settings.server
        try:
            await self._until(lambda: self._server.started)  # it may be about to
            self._http.take_over()
            await self._lame_duck(min(limits.lame_duck_seconds, limits.grace_seconds))
            await self._close_doors()
            grpc = asyncio.create_task(self._finish_grpc())
            dataplane = self._parts.dataplane
            cut, finished = await self._finish_http()
            lost = await grpc
            if not cut:
                finished = dataplane.answered_draining  # what was cut is not among them
        except Exception:  # noqa: BLE001 - whatever it is, this worker has to end
            sys.stderr.write(f"lupine: worker {os.getpid()} fails to drain, and exits at once\n")
            traceback.print_exc()
            return
        finally:
            self._server.should_exit = True
        sys.stderr.write(
            f"lupine: worker {os.getpid()} drained in {time.monotonic() - self._began:.1f} s: "
            f"{finished} requests finished, {cut + lost} cut\n"
        )

    async def _lame_duck(self, seconds: float) -> None:
        end = self._began + seconds
        await self._until(lambda: time.monotonic() >= end or self._is_hurried())

    async def _close_doors(self) -> None:
        """Take no more connections; those that were in the kernel's queue are served."""
        told = time.monotonic() + _TOLD_SECONDS
        await self._until(lambda: self._all_end() or time.monotonic() >= told)
        self._parts.handover.leave()
        await asyncio.gather(
            self._parts.grpc.close_door(), self._http.close_door(last=self._all_end())
        )

    async def _finish_grpc(self) -> int:
        """Finish the calls in flight. Returns how many were cut."""
        stopping = asyncio.create_task(self._parts.grpc.stop(self._left()))
        await self._until(lambda: stopping.done() or self._is_hurried())
        if not stopping.done():
            hurry = asyncio.create_task(self._parts.grpc.stop(_HURRIED_SECONDS))
            await asyncio.wait((stopping, hurry), timeout=_HURRIED_SECONDS + _SETTLE_SECONDS)
            return max((int(t.result()) for t in (stopping, hurry) if t.done()), default=0)
        return int(await stopping)

    async def _finish_http(self) -> tuple[int, int]:
        """Finish the requests in flight. Returns how many were cut, and finished until then."""

        def done() -> bool:
            for connection in self._connections():
                connection.close_if_idle()
            return self._left() <= 0 or not (self._connections() or self._tasks())

        await self._until(done)
        finished = self._parts.dataplane.answered_draining  # what is cut ends too, later
        cut = sum(connection.cut(_CUT) for connection in self._connections())
        if self._connections() or self._tasks():
            await asyncio.sleep(_SETTLE_SECONDS)
        for connection in self._connections():  # it does not read its answer
            connection.transport.abort()
        for task in self._tasks():
            task.cancel()
        return cut, finished

    def _connections(self) -> list[Any]:
        return list(self._server.server_state.connections)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return list(self._server.server_state.tasks)

    def _left(self) -> float:
        """Seconds that are left for what is in flight."""
        end = self._began + self._parts.settings.server.grace_seconds
        if self._is_hurried():
            self._hurried = self._hurried or time.monotonic()
            end = min(end, self._hurried + _HURRIED_SECONDS)
        return max(0.0, end - time.monotonic())

    def _is_hurried(self) -> bool:
        return marks.there(self._run_dir, marks.HURRIED)

    def _all_end(self) -> bool:
        """Whether the whole gateway ends. A worker alone leaves the door open to the others."""
        return marks.there(self._run_dir, marks.STOPPING) or lifeline.is_gone(self._run_dir)

    @staticmethod
    async def _until(condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - marks of other processes set no event
            await asyncio.sleep(_POLL_SECONDS)
