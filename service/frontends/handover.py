"""Connections go to the worker that has the fewest, whichever of them accepted.

The kernel does not care: of sixteen connections that come together it gives one worker three and
the other thirteen, and connections that live for hours stay where they are. So a worker looks at
what all have, in a table that they share, and passes a connection on where another has fewer
(`docs/adr/0021`).

Each cell of the table has one writer, who needs no lock: what a worker has open, what it gave to
each other, and what it took from each. What was given and not yet taken counts as open.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

_TABLE = "connections"
_CELL_BYTES = 8
_MESSAGE = struct.Struct("BB")  # the wire, and the place of who gives
_AT_ONCE = 16  # connections taken in a turn of the loop


class Wire(IntEnum):
    """What is spoken on a connection."""

    HTTP = 0
    GRPC = 1


class Handover:
    """One worker's share of the connections.

    Args:
        run_dir: the private folder of this gateway.
        workers: that there are. A single one has nobody to pass anything on to.
    """

    def __init__(self, run_dir: Path, workers: int) -> None:
        self._run_dir = run_dir
        self._workers = workers
        self._row = 1 + len(Wire) * (1 + 2 * workers)  # serving; of each wire open, given, taken
        self._place = -1
        self._cells: memoryview | None = None
        self._folder = self._lock = -1
        self._socket: socket.socket | None = None
        self._serve: Mapping[Wire, Callable[[socket.socket], object]] = {}

    def join(self, serve: Mapping[Wire, Callable[[socket.socket], object]]) -> None:
        """Take connections from others from now on, and pass some on.

        Args:
            serve: by wire; is called with each that is taken, and owns it.
        """
        if self._workers < 2 or not self._take_place():  # noqa: PLR2004 - alone
            return
        self._serve = serve
        self._map()
        self._start_afresh()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # noqa: FBT003 - the socket's own signature
        address = self._address(self._place)
        with suppress(FileNotFoundError):
            Path(address).unlink()
        self._socket.bind(address)
        asyncio.get_running_loop().add_reader(self._socket, self._take)
        self._set(self._at(self._place), 1)

    def opened(self, wire: Wire) -> None:
        """This worker serves one connection more."""
        self._add(self._at(self._place, wire), 1)

    def closed(self, wire: Wire) -> None:
        """It serves one less."""
        self._add(self._at(self._place, wire), -1)

    def passed_on(self, wire: Wire, connection: socket.socket) -> bool:
        """Give a connection to whoever has fewer. Where nobody has, it stays the caller's.

        One that was passed on is closed here.
        """
        if self._socket is None:
            return False
        loads = self._loads(wire)
        chosen = min(loads, key=loads.__getitem__)
        if loads[chosen] >= loads.get(self._place, 0):
            return False
        given = self._at(self._place, wire) + 1 + chosen
        self._add(given, 1)  # before it arrives: who looks meanwhile must not give there too
        message = _MESSAGE.pack(wire, self._place)
        descriptor = connection.fileno().to_bytes(4, sys.byteorder)
        descriptors = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)]
        try:
            # Not `socket.send_fds`: it forgets the address.
            self._socket.sendmsg([message], descriptors, 0, self._address(chosen))
        except OSError:  # it has ended, or has more to take than it can
            self._add(given, -1)
            return False
        connection.close()
        return True

    def leave(self) -> None:
        """Take no more; what is on its way is served."""
        if self._socket is None:
            return
        self._set(self._at(self._place), 0)
        asyncio.get_running_loop().remove_reader(self._socket)
        # Who sends now hears that nobody takes it, and keeps it. What was sent before is here.
        self._socket.shutdown(socket.SHUT_RD)
        while self._take():
            pass
        self._socket.close()
        self._socket = self._cells = None
        os.close(self._folder)
        os.close(self._lock)  # from now on the place, and its cells, may be another's

    # ------------------------------------------------------------------ the table

    def _take_place(self) -> bool:
        """Whether one was free. The kernel frees it at this process's end, by whatever death."""
        self._folder = os.open(self._run_dir, os.O_PATH | os.O_CLOEXEC)
        for place in range(self._workers):
            lock = os.open(
                f"{_TABLE}.{place}",
                os.O_RDWR | os.O_CREAT | os.O_CLOEXEC,
                0o600,
                dir_fd=self._folder,
            )
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            self._lock, self._place = lock, place
            return True
        return False

    def _map(self) -> None:
        size = self._workers * self._row * _CELL_BYTES
        table = os.open(_TABLE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._folder)
        try:
            os.ftruncate(table, size)  # what is new is 0
            self._cells = memoryview(mmap.mmap(table, size)).cast("q")
        finally:
            os.close(table)

    def _start_afresh(self) -> None:
        """Nothing is open, and what was on its way to who had this place before has gone."""
        for wire in Wire:
            own = self._at(self._place, wire)
            self._set(own, 0)
            for other in range(self._workers):
                given = self._get(self._at(other, wire) + 1 + self._place)
                self._set(own + 1 + self._workers + other, given)

    def _loads(self, wire: Wire) -> dict[int, int]:
        """What each worker that takes connections has, or is about to have."""
        return {place: self._load(place, wire) for place in self._serving()}

    def _serving(self) -> Iterator[int]:
        return (place for place in range(self._workers) if self._get(self._at(place)))

    def _load(self, place: int, wire: Wire) -> int:
        own = self._at(place, wire)
        coming = sum(
            self._get(self._at(other, wire) + 1 + place)
            - self._get(own + 1 + self._workers + other)
            for other in range(self._workers)
        )
        return self._get(own) + coming

    def _at(self, place: int, wire: Wire | None = None) -> int:
        """The cell that says whether a worker takes connections, or what it has of a wire open."""
        row = place * self._row
        return row if wire is None else row + 1 + wire * (1 + 2 * self._workers)

    def _get(self, cell: int) -> int:
        return 0 if self._cells is None else int(self._cells[cell])

    def _set(self, cell: int, value: int) -> None:
        if self._cells is not None:
            self._cells[cell] = value

    def _add(self, cell: int, change: int) -> None:
        self._set(cell, self._get(cell) + change)

    # ------------------------------------------------------------------ what comes

    def _address(self, place: int) -> str:
        # However long the folder's own name is: a socket's address has room for a hundred bytes.
        return f"/proc/self/fd/{self._folder}/{_TABLE}.{place}.socket"

    def _take(self) -> bool:
        """Whether anything came."""
        came = False
        for _ in range(_AT_ONCE):
            if self._socket is None:
                break
            try:
                message, descriptors, _, _ = socket.recv_fds(self._socket, _MESSAGE.size, 1)
            except BlockingIOError:
                break
            if not message:  # the end of what was sent before `leave`
                break
            came = True
            wire, giver = _MESSAGE.unpack(message)
            self._add(self._at(self._place, Wire(wire)) + 1 + self._workers + giver, 1)
            for descriptor in descriptors:
                self._serve[Wire(wire)](socket.socket(fileno=descriptor))
        return came
