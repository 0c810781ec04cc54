"""Keeps one tritonserver running: starts, watches and restarts it, with backoff; stops it last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from service.errors import ConfigurationError
from service.runner import endpoint, record, stub_memory, tritonserver
from service.runner.backoff import Backoff
from service.runner.endpoint import Endpoint
from service.runner.log import Output
from service.runner.process_group import ProcessGroup
from service.runner.record import Record
from service.runner.runtime import Runtime, assemble_backends, find_runtime, missing_reason
from service.runner.slot_sweep import SlotSweep
from service.runner.tritonserver import HOST, Ports, Tritonserver

_START_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How patient a keeper is, in seconds.

    Args:
        start: a start may take so long, the loading of models included.
        attempts: starts that may fail before the first success; ports can be taken under us.
        probe_every: pause between two questions for its health.
        probe: an answer may take so long.
        probe_failures: questions without an answer, in a row, after which it hangs and is killed.
        stop: after SIGTERM it may take so long.
        backoff: between restarts.
    """

    start: float = 120.0
    attempts: int = 3
    probe_every: float = 1.0
    probe: float = 2.0
    probe_failures: int = 10
    stop: float = 15.0
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What a keeper asks and tells whoever made it.

    Args:
        ports: gives the ports of a start.
        models_to_load: names of the models that a start loads.
        on_ready: called whenever a server has become ready.
        slots: shared memory that callers hand to the server; None: nobody does.
    """

    ports: Callable[[], Ports]
    models_to_load: Callable[[], list[str]]
    on_ready: Callable[[], None]
    slots: SlotSweep | None = None


class Keeper:
    """Keeps one tritonserver running until it is told to stop.

    Args:
        run_dir: private; the endpoint file appears there.
        repository: the model repository.
        runtime: where tritonserver is.
        wiring: see there.
        timing: see there.
        output: for its words and tritonserver's.
    """

    def __init__(
        self,
        run_dir: Path,
        repository: Path,
        runtime: Runtime,
        *,
        wiring: Wiring,
        output: Output,
        timing: Timing,
    ) -> None:
        self._run_dir = run_dir
        self._repository = repository.absolute()
        self._runtime = runtime
        self._wiring = wiring
        self._slots = wiring.slots
        self._output = output
        self._timing = timing
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._was_ready = False

    def stop(self) -> None:
        """Let `run` stop the server and return."""
        self._stopping.set()

    def hurry(self) -> None:
        """Let `run` return without waiting for the server to stop by itself."""
        self._stopping.set()
        self._hurried.set()

    async def run(self) -> None:
        """Keep a server running until `stop`. It is gone, with all that is its own, on return.

        Raises:
            ConfigurationError: no start succeeds, and why; only before the first success.
        """
        await self._sweep()
        clock = asyncio.get_running_loop().time
        began, failures = clock(), 0
        try:
            while not self._stopping.is_set():
                uptime, reason = await self._one_life()
                if self._stopping.is_set():
                    break
                failures = self._timing.backoff.failures(failures, uptime)
                spent = failures >= self._timing.attempts or clock() - began >= self._timing.start
                if spent and not self._was_ready:
                    raise ConfigurationError(f"{reason} (starts that failed: {failures})")
                delay = self._timing.backoff.delay(failures)
                self.say(f"{reason}; starting it again in {delay:g} s")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), delay)
        finally:
            record.remove(self._run_dir)
            if self._slots is not None:
                self._slots.end()

    def say(self, what: str) -> None:
        """Write a line of our own into the log."""
        self._output.write("guardian", what)

    async def _sweep(self) -> None:
        """End what a guardian that was killed has left."""
        endpoint.remove(self._run_dir)
        last = record.read(self._run_dir)
        if last is not None:
            await ProcessGroup(last.pid, last.started).kill()
            stub_memory.sweep(last.shm_prefix)
        if self._slots is not None:
            self._slots.begin()

    async def _one_life(self) -> tuple[float, str]:
        """Start a server and watch it to its end. Returns the seconds it served, and what ended it.

        It ends by itself, by hanging or by `stop`; in each case nothing of it is left.
        """
        prefix = stub_memory.new_prefix()
        try:
            server = self._start(prefix)
        except (OSError, ConfigurationError) as error:
            return 0.0, f"tritonserver cannot be started: {error}"
        clock = asyncio.get_running_loop().time
        ready_at: float | None = None
        try:
            server.attend()
            epoch = self._record(server, prefix)
            if await self._becomes_ready(server):
                ready_at = clock()
                self._announce(server, epoch)
                reason = await self._watch(server)
            else:
                reason = f"tritonserver was not ready within {self._timing.start:g} s"
        finally:
            endpoint.remove(self._run_dir)
            if self._stopping.is_set() and ready_at is not None:
                await self._ask_to_stop(server)
            by_itself = server.ended.is_set()
            left = await server.bury()
            stub_memory.sweep(prefix)
            if self._slots is not None:
                self._slots.triton_ended()
            if left:
                self.say(f"the processes {left} outlast SIGKILL: the kernel holds them")
        if by_itself:
            reason = server.obituary()
        if ready_at is None:
            return 0.0, f"{reason}: {server.complaints() or 'it logged no error'}"
        return clock() - ready_at, reason

    def _start(self, prefix: str) -> Tritonserver:
        ports = self._wiring.ports()
        empty = self._run_dir / "cwd"  # the stubs would import what lies where they run
        empty.mkdir(exist_ok=True)
        command = self._runtime.command(
            self._repository,
            http_port=ports.http,
            grpc_port=ports.grpc,
            metrics_port=ports.metrics,
            backend_directory=assemble_backends(self._runtime, self._run_dir / "backends"),
            shm_prefix=prefix,
            load_models=self._wiring.models_to_load(),
            extra=[f"--exit-timeout-secs={max(1, int(self._timing.stop) - 5)}"],
        )
        return tritonserver.start(
            command,
            ports=ports,
            environment=self._runtime.environment(),
            directory=empty,
            output=self._output,
        )

    def _record(self, server: Tritonserver, prefix: str) -> int:
        """Leave word of the server for a successor. Returns its epoch."""
        last = record.read(self._run_dir)
        epoch = last.epoch + 1 if last else 1
        group = server.group
        record.write(
            self._run_dir,
            Record(pid=group.leader, started=group.started, shm_prefix=prefix, epoch=epoch),
        )
        return epoch

    async def _becomes_ready(self, server: Tritonserver) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.start):
                while not await self._pause(server, _START_POLL_SECONDS):
                    if await server.is_live(self._timing.probe):
                        return True
        return False

    def _announce(self, server: Tritonserver, epoch: int) -> None:
        ports = server.ports
        ready = Endpoint(
            grpc=f"{HOST}:{ports.grpc}",
            http=f"{HOST}:{ports.http}",
            metrics=f"{HOST}:{ports.metrics}",
            pid=server.pid,
            epoch=epoch,
        )
        endpoint.write(self._run_dir, ready)
        self._was_ready = True
        self.say(f"tritonserver {server.pid} is ready: gRPC {ready.grpc}, HTTP {ready.http}")
        self._wiring.on_ready()

    async def _watch(self, server: Tritonserver) -> str:
        """Return when the server has ended or hangs, and why, or when `stop` was called."""
        missed = 0
        while not await self._pause(server, self._timing.probe_every):
            missed = 0 if await server.is_live(self._timing.probe) else missed + 1
            if missed >= self._timing.probe_failures:
                return f"tritonserver {server.pid} hung: {missed} health checks without an answer"
            if self._slots is not None and not missed:
                await self._slots.sweep(server.ports.http)
        return ""

    async def _pause(self, server: Tritonserver, seconds: float) -> bool:
        """Sleep; the server's end and `stop` cut it short. Returns whether one of them came."""
        await _either(server.ended, self._stopping, timeout=seconds)
        return server.ended.is_set() or self._stopping.is_set()

    async def _ask_to_stop(self, server: Tritonserver) -> None:
        server.ask_to_stop()
        await _either(server.ended, self._hurried, timeout=self._timing.stop)


def require_runtime(directory: Path) -> Runtime:
    """The runtime built in `directory`.

    Raises:
        ConfigurationError: there is none, and why.
    """
    runtime = find_runtime(directory)
    if runtime is None:
        raise ConfigurationError(missing_reason(directory) or f"no runtime in {directory}")
    return runtime


async def _either(*events: asyncio.Event, timeout: float) -> None:  # noqa: ASYNC109 - not an error
    """Wait until one of the events is set, at most `timeout` seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
