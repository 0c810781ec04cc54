"""Ports: taken, free, reserved, shared with strangers."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from benchmarks.harness.gateway import free_port
from service.errors import ConfigurationError
from service.runner import grpc_port, ports

_LOOPBACK = "127.0.0.1"
_SERVE = """
import socket, sys
with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((sys.argv[1], int(sys.argv[2])))
    listener.listen()
    print("listening", flush=True)
    sys.stdin.read()
"""


def bound(port: int, *options: int, address: str = _LOOPBACK) -> socket.socket:
    """A socket with these options on a port."""
    found = socket.socket()
    try:
        for option in options:
            found.setsockopt(socket.SOL_SOCKET, option, 1)
        found.bind((address, port))
    except OSError:
        found.close()
        raise
    return found


@pytest.fixture
def port() -> Iterator[int]:
    """A port that is reserved."""
    number = free_port()
    with grpc_port.reserve(_LOOPBACK, number):
        yield number


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])  # noqa: S104 - only looked at
def test_addresses_stay_as_they_are(host: str) -> None:
    """No name is asked for."""
    assert ports.numeric_address(host) == host


def test_localhost_is_an_address_too() -> None:
    """BentoML itself would refuse the name."""
    assert ports.numeric_address("localhost") == "127.0.0.1"


def test_a_port_that_is_taken_is_named_with_who_has_it() -> None:
    """And with the flag that chooses another."""
    with socket.create_server((_LOOPBACK, 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {number} .* \(process \d+\).* --port"):
            ports.check_free(_LOOPBACK, number, "--port")


def test_a_port_that_is_shared_is_taken_too() -> None:
    """SO_REUSEPORT makes a clash silent, but not for who does not set it."""
    number = free_port()
    with bound(number, socket.SO_REUSEPORT) as other:
        other.listen()
        taken = f"port {number} on {_LOOPBACK} is taken"
        with pytest.raises(ConfigurationError, match=taken):
            ports.check_free(_LOOPBACK, number, "--grpc-port")
        with pytest.raises(ConfigurationError, match=taken):
            grpc_port.reserve(_LOOPBACK, number)


def test_workers_may_join_a_reserved_port(port: int) -> None:
    """On its address or on all of them; callers reach them alone."""
    for address in (_LOOPBACK, "0.0.0.0"):  # noqa: S104 - for a moment
        with (
            bound(port, socket.SO_REUSEPORT, address=address) as one,
            bound(port, socket.SO_REUSEPORT, socket.SO_REUSEADDR, address=address) as other,
        ):
            one.listen()
            other.listen()
            for _ in range(8):
                socket.create_connection((_LOOPBACK, port), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((_LOOPBACK, port), timeout=5)


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR,)], ids=["plain", "reuseaddr"])
def test_others_may_not_have_a_reserved_port(port: int, options: tuple[int, ...]) -> None:
    """Although nobody listens on it."""
    with pytest.raises(OSError, match="in use"):
        bound(port, *options)


def test_another_gateway_may_not_have_a_reserved_port(port: int) -> None:
    """Nor while workers listen there; once the supervisor is gone it may."""
    with pytest.raises(ConfigurationError, match=f"port {port} on {_LOOPBACK} is taken"):
        grpc_port.reserve(_LOOPBACK, port)


def test_a_reservation_ends_with_its_socket() -> None:
    """Whatever death its process died."""
    number = free_port()
    grpc_port.reserve(_LOOPBACK, number).close()
    grpc_port.reserve(_LOOPBACK, number).close()


def test_a_stranger_on_the_port_is_found(port: int) -> None:
    """A program of the same user may join in silence; the workers look, and name it."""
    with bound(port, socket.SO_REUSEPORT) as ours:
        ours.listen()
        grpc_port.check_ours(_LOOPBACK, port)
        # A child of this test, and the grandchild its shell starts: only the latter is a stranger.
        command = [sys.executable, "-c", _SERVE, _LOOPBACK, str(port)]
        nested = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
        with subprocess.Popen(
            [sys.executable, "-c", nested, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(ConfigurationError, match=rf"port {port} is also served by python"):
                grpc_port.check_ours(_LOOPBACK, port)
            grpc_port.check_ours("127.0.0.2", port)
            process.communicate()
