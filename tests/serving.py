"""A worker inside the test process: the real parts, on a free port, without a supervisor."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from service.frontends import http_protocol
from service.gateway import Gateway
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Serving:
    """A gateway that answers."""

    host: str
    port: int
    gateway: Gateway
    loop: asyncio.AbstractEventLoop

    @property
    def address(self) -> str:
        """`host:port`, as tritonclient takes it."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.address}"


def settings(repository: Path, engine: str = "echo", **sections: object) -> Settings:
    """Settings for a test: defaults but for what is named."""
    return Settings.model_validate(
        {"repository": {"path": repository}, "engine": {"kind": engine}} | sections
    )


@contextmanager
def serving(chosen: Settings, run_dir: Path) -> Iterator[Serving]:
    """Serve until the block ends."""
    limits = getattr(http_protocol.GuardedProtocol, "limits", chosen.server)
    http_protocol.install(chosen.server)
    listener = socket.create_server((chosen.server.host, 0), backlog=1024)
    host, port = listener.getsockname()[:2]
    started = threading.Event()
    state: dict[str, object] = {}

    async def main() -> None:
        gateway = Gateway(chosen, run_dir)
        try:
            await gateway.start()
            server = uvicorn.Server(
                uvicorn.Config(gateway.http, log_level="warning", lifespan="off")
            )
            state.update(gateway=gateway, server=server, loop=asyncio.get_running_loop())
            started.set()
            await server._serve([listener])  # signals belong to pytest
        finally:
            await gateway.stop()

    def run() -> None:
        try:
            asyncio.run(main())
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
        yield Serving(host, port, state["gateway"], state["loop"])  # type: ignore[arg-type]
    finally:
        if "server" in state:
            state["server"].should_exit = True  # type: ignore[attr-defined]
        thread.join()
        listener.close()
        http_protocol.install(limits)  # gateways of one process share them
