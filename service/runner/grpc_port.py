"""The gRPC port, which every worker opens for itself: reserved for this gateway alone.

With SO_REUSEPORT another server of the same user joins a port without a word, and takes a share of
the calls. So the supervisor takes the port as if nobody was to share it, and then keeps it without
listening, open to its own kind; the workers look whether anybody else came along.
"""

from __future__ import annotations

import os
import socket

import psutil

from service.errors import ConfigurationError
from service.runner import ports
from service.settings import Settings

FLAG = "--grpc-port"


def check_apart(settings: Settings) -> None:
    """Make sure that HTTP and gRPC do not want the same port.

    Raises:
        ConfigurationError: they do.
    """
    if settings.server.port == settings.server.grpc_port:
        raise ConfigurationError(
            f"HTTP and gRPC cannot share port {settings.server.port}: choose another --port or "
            f"{FLAG}"
        )


def reserve(address: str, port: int) -> socket.socket:
    """Take the port for the workers of this process, for as long as the socket is kept.

    Raises:
        ConfigurationError: somebody has it, or it cannot be had.
    """
    keeper = ports.listening(address, port, FLAG)
    # From here on sockets with SO_REUSEPORT may come, of this user; those with SO_REUSEADDR alone
    # may not, and neither may another gateway, which does the same as the line above.
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    keeper.shutdown(socket.SHUT_RDWR)  # it listens no more, and is bound still
    return keeper


def check_ours(address: str, port: int) -> None:
    """Make sure that only this worker and its siblings listen there.

    Raises:
        ConfigurationError: somebody else does too.
    """
    family = {os.getpid(), os.getppid()}
    for pid in ports.listeners(port, address):
        try:
            stranger = pid not in family and psutil.Process(pid).ppid() not in family
        except psutil.Error:
            continue  # it is gone by now
        if stranger:
            raise ConfigurationError(
                f"port {port} is also served by {ports.named(pid)}, which would take a share of "
                f"the calls: stop that, or choose another {FLAG}"
            )
