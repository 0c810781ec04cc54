"""From where a gateway is asked: the addresses of this machine, by where the gateway listens."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

FOUR, SIX = "127.0.0.1", "::1"
ALL_FOUR, ALL = "0.0.0.0", "::"  # noqa: S104 - what it is about


@dataclass(frozen=True, slots=True)
class Peer:
    """Both ends of a connection.

    Args:
        name: what kind of peer.
        source: the address that the gateway sees.
        target: the address that is connected to.
    """

    name: str
    source: str
    target: str

    @property
    def local(self) -> bool:
        """Whether the gateway sees a loopback address."""
        return ipaddress.ip_address(self.source).is_loopback

    def reaches(self) -> bool:
        """Whether this machine has both addresses, and a way from one to the other."""
        try:
            with socket.create_server((self.target, 0), family=family(self.target)) as there:
                port = there.getsockname()[1]
                socket.create_connection((self.target, port), 1, (self.source, 0)).close()
        except OSError:
            return False
        return True


def family(address: str) -> socket.AddressFamily:
    """Of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def own(kind: socket.AddressFamily) -> str:
    """An address of this machine that others may know it by; empty: it has none."""
    found = [
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == kind and not ipaddress.ip_address(entry.address).is_loopback
    ]
    # A link-local one needs its scope, and does as well: it comes last.
    return min(found, key=lambda address: ("%" in address, address), default="")


def inside(host: str) -> str:
    """The loopback address at which a gateway that listens on `host` is reached."""
    return SIX if host == SIX else FOUR


def peers(host: str) -> Iterator[Peer]:
    """Those that may try a gateway that listens on `host`; the first is local, the last is not."""
    four, six = own(socket.AF_INET), own(socket.AF_INET6)
    of = {
        FOUR: [
            ("loopback", FOUR, FOUR),
            ("another loopback", "127.0.0.2", FOUR),
            ("not loopback", four, FOUR),
        ],
        SIX: [("IPv6 loopback", SIX, SIX), ("IPv6, not loopback", six, SIX)],
        ALL_FOUR: [
            ("loopback", FOUR, FOUR),
            ("loopback, to another address", FOUR, four),
            ("not loopback, to loopback", four, FOUR),
            ("not loopback", four, four),
        ],
        ALL: [
            ("IPv4-mapped loopback", FOUR, FOUR),
            ("IPv4-mapped, not loopback", four, four),
            ("IPv6 loopback", SIX, SIX),
            ("IPv6, not loopback", six, six),
        ],
    }
    for name, source, target in of[host]:
        if source and target:
            yield Peer(name, source, target)
