"""A worker inside the test process: the real parts, on a free port, without a supervisor."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
import uvloop

from benchmarks.harness.gateway import free_port
from service.frontends import http_protocol
from service.gateway import Gateway
from service.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Serving:
    """A gateway that answers."""

    host: str
    port: int
    grpc_port: int
    gateway: Gateway
    loop: asyncio.AbstractEventLoop

    @property
    def address(self) -> str:
        """`host:port`, as tritonclient takes it."""
        return f"{self.host}:{self.port}"

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns that runs on the gateway's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=60)

    @property
    def grpc_address(self) -> str:
        """The same for gRPC."""
        return f"{self.host}:{self.grpc_port}"

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.address}"


def settings(repository: Path, engine: str = "echo", /, **sections: object) -> Settings:
    """Settings for a test: defaults but for what is named."""
    return Settings.model_validate(
        {"repository": {"path": repository}, "engine": {"kind": engine}} | sections
    )


def _direct(gateway: Gateway) -> type[http_protocol.GuardedProtocol]:
    """What answers as a worker's connections do; a process of tests may have several gateways."""
    return type("Connection", (http_protocol.GuardedProtocol,), {"direct": gateway.direct})


@contextmanager
def serving(chosen: Settings, run_dir: Path) -> Iterator[Serving]:
    """Serve until the block ends, on free ports."""
    port = free_port()
    chosen = chosen.model_copy(
        update={"server": chosen.server.model_copy(update={"grpc_port": port})}
    )
    limits = getattr(http_protocol.GuardedProtocol, "limits", chosen.server)
    http_protocol.install(chosen.server)
    listener = _listening(chosen.server.host)
    host, port = listener.getsockname()[:2]
    started = threading.Event()
    state: dict[str, object] = {}

    async def main() -> None:
        gateway = Gateway(chosen, run_dir)
        try:
            await gateway.start()
            server = uvicorn.Server(
                uvicorn.Config(
                    gateway.http, http=_direct(gateway), log_level="warning", lifespan="off"
                )
            )
            state.update(gateway=gateway, server=server, loop=asyncio.get_running_loop())
            started.set()
            await server._serve([listener])  # signals belong to pytest
        finally:
            await gateway.stop()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as in a worker
                runner.run(main())
        except BaseException as error:  # noqa: BLE001 - told to the test that waits
            state["error"] = error
        finally:
            started.set()

    thread = threading.Thread(target=run, name="gateway")
    thread.start()
    started.wait()
    try:
        if "error" in state:
            raise state["error"]  # type: ignore[misc]
        yield Serving(host, port, chosen.server.grpc_port, state["gateway"], state["loop"])  # type: ignore[arg-type]
    finally:
        if "server" in state:
            state["server"].should_exit = True  # type: ignore[attr-defined]
        thread.join()
        listener.close()
        http_protocol.install(limits)  # gateways of one process share them


def _listening(host: str) -> socket.socket:
    """On a free port; `::` takes IPv4 as well, as uvicorn and gRPC have it."""
    return socket.create_server(
        (host, 0),
        family=socket.AF_INET6 if ":" in host else socket.AF_INET,
        backlog=1024,
        dualstack_ipv6=host == "::",
    )
