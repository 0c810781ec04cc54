"""The guardian's part in shared memory: it takes away what workers that were killed have left.

A worker's files are its own while it lives (`wires/slot_file.py`). Those of a dead one are first
unregistered at Triton. It refuses while a run reads one, which is tried again then.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Self

from service.file_lock import is_held
from service.runner.tritonserver import HOST
from service.wires import slot_file
from service.wires.slot_file import Guard

_PATIENCE_SECONDS = 2.0


class SlotSweep:
    """Sweeps after the workers of one gateway, for as long as its guardian lives.

    Args:
        gateway: its `slot_file.gateway_id`.
        folder: where the files are.
    """

    def __init__(self, gateway: str, folder: Path = slot_file.FOLDER) -> None:
        self._gateway = gateway
        self._folder = folder
        self._guard: Guard | None = None

    @classmethod
    def of(cls, run_dir: Path) -> Self:
        """After the workers that share a run folder."""
        return cls(slot_file.gateway_id(run_dir))

    def begin(self) -> None:
        """Take away what gateways that are gone have left, and this one, before it has a Triton."""
        with suppress(OSError):  # without shared memory there is nothing to look after
            self._guard = Guard(self._gateway, self._folder)
        with suppress(OSError):
            for path in slot_file.orphans(apart_from=self._gateway, folder=self._folder):
                path.unlink(missing_ok=True)
        self.triton_ended()

    def triton_ended(self) -> None:
        """Take away what dead workers have left: no server knows it any more."""
        for path in self._left():
            path.unlink(missing_ok=True)

    async def sweep(self, http_port: int) -> None:
        """Take away what dead workers have left, and this gateway's Triton does not use."""
        with suppress(OSError):  # it does not answer now: the next sweep may do more
            for path in self._left():
                if await _unregistered(http_port, path.name):
                    path.unlink(missing_ok=True)

    def end(self) -> None:
        """Triton has ended for good: whoever still has files of this gateway needs no names."""
        with suppress(OSError):
            for path in slot_file.of_gateway(self._gateway, self._folder):
                path.unlink(missing_ok=True)
        if self._guard is not None:
            self._guard.close()

    def _left(self) -> list[Path]:
        with suppress(OSError):  # whatever is wrong with it, tritonserver is kept all the same
            files = slot_file.of_gateway(self._gateway, self._folder)
            return [path for path in files if not is_held(path)]
        return []


async def _unregistered(http_port: int, region: str) -> bool:
    """Whether Triton, having been asked to, does not know a region any more.

    Raises:
        OSError: it does not answer; TimeoutError is one.
    """
    async with asyncio.timeout(_PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection(HOST, http_port)
        try:
            writer.write(
                b"POST /v2/systemsharedmemory/region/%b/unregister HTTP/1.1\r\nHost: triton\r\n"
                b"Content-Length: 0\r\nConnection: close\r\n\r\n" % region.encode()
            )
            return b" 200 " in await reader.readline()
        finally:
            writer.close()
