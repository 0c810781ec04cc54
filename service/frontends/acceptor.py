"""Accepts the connections of one listening socket, and serves them or passes them on."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from service.frontends.handover import Handover, Wire

_AT_ONCE = 8  # connections in a turn of the loop: the other workers shall have their turns too
_PAUSE_SECONDS = 1.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = logging.getLogger(__name__)


class Acceptor:
    """Watches a listening socket from `start` to `stop`.

    Args:
        listener: stays the caller's.
        wire: that is spoken on it.
        handover: knows who has the fewest connections.
        serve: is called with each connection that this worker keeps, and owns it.
    """

    def __init__(
        self,
        listener: socket.socket,
        wire: Wire,
        handover: Handover,
        serve: Callable[[socket.socket], object],
    ) -> None:
        self._listener = listener
        self._wire = wire
        self._handover = handover
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._listener.setblocking(False)  # noqa: FBT003 - the socket's own signature
        self._loop.add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Accept no more."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self._listener)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except BlockingIOError:
                return  # another worker had it
            except ConnectionAbortedError:
                continue  # it gave up while it waited
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                _log.error("no connection can be accepted for now: %s", error)
                self._loop.remove_reader(self._listener)
                self._paused = self._loop.call_later(_PAUSE_SECONDS, self.start)
                return
            if not self._handover.passed_on(self._wire, connection):
                self._serve(connection)
