"""TCP ports: whether they are free, and who has them."""

from __future__ import annotations

import errno
import ipaddress
import socket

import psutil

from service.errors import ConfigurationError

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def numeric_address(host: str) -> str:
    """The address of a host: BentoML listens on addresses alone, not on names.

    Raises:
        ConfigurationError: the name leads to no address.
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"--host {host!r:.200} leads to no address: {error}") from None
    four = [entry for entry in found if entry[0] == socket.AF_INET]
    return str((four or found)[0][4][0])


def check_free(address: str, port: int, flag: str) -> None:
    """Make sure that a server could listen there now.

    Args:
        address: a numeric address.
        port: the port.
        flag: what the operator would change.

    Raises:
        ConfigurationError: it could not, and why.
    """
    listening(address, port, flag).close()


def listening(address: str, port: int, flag: str) -> socket.socket:
    """A socket that listens there, and that shares the port with nobody.

    Raises:
        ConfigurationError: it cannot, and why. The arguments are those of `check_free`.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Without this, connections that closed a moment ago would look like a listener.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((address, port))
        found.listen(1)
    except OSError as error:
        found.close()
        raise ConfigurationError(_trouble(address, port, flag, error)) from None
    return found


def _trouble(address: str, port: int, flag: str, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            by = "".join(f" by {name}" for name in map(named, listeners(port)[:1]) if name)
            return f"port {port} on {address} is taken{by}: stop that, or choose another {flag}"
        case errno.EADDRNOTAVAIL:
            return f"{address} is no address of this machine: check --host"
        case errno.EACCES:
            return f"port {port} needs privileges: choose a {flag} of 1024 or more"
        case _:
            return f"cannot listen on {address} port {port}: {error}"


def named(pid: int) -> str:
    """A process as the operator knows it; an empty string where it is gone."""
    try:
        return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.Error:
        return ""


def listeners(port: int, address: str = "") -> list[int]:
    """The processes that listen on a port, as far as this user may know.

    Args:
        port: the port.
        address: numeric; those are left out that listen on another one alone. Empty: on any.
    """
    try:
        found = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return []
    met = {address, *_WILDCARDS}
    anywhere = not address or address in _WILDCARDS
    return sorted(
        {
            each.pid
            for each in found
            if each.status == psutil.CONN_LISTEN
            and each.laddr
            and each.laddr.port == port
            and (anywhere or each.laddr.ip in met)
            and each.pid is not None
        }
    )
