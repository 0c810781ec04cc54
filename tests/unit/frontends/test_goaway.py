from __future__ import annotations

import socket
from collections.abc import Iterator

import h2.connection
import h2.events
import pytest

from service.frontends import goaway, own_sockets

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a TCP connection: the server's, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with server, client:
        client.settimeout(5)
        yield server, client


async def test_the_frame_is_one_that_clients_understand(pair: Pair) -> None:
    """They may finish every stream they have opened, and open no other."""
    server, client = pair
    await goaway.send([server])
    peer = h2.connection.H2Connection()
    peer.initiate_connection()
    settings = bytes.fromhex("000000040000000000")  # a server's first frame
    (event,) = [
        event
        for event in peer.receive_data(settings + client.recv(100))
        if isinstance(event, h2.events.ConnectionTerminated)
    ]
    assert event.last_stream_id == 2**31 - 1
    assert event.error_code == 0


async def test_a_client_that_does_not_read_is_passed_over(pair: Pair) -> None:
    """Its answer may be half sent, and nothing may come into the middle of it."""
    server, client = pair
    server.setblocking(False)  # noqa: FBT003 - the socket's own signature
    sent = 0
    while True:
        try:
            sent += server.send(b"x" * 65536)
        except BlockingIOError:
            break
    await goaway.send([server])
    received = b""
    while len(received) < sent:
        received += client.recv(1 << 20)
    client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert set(received) == {ord("x")}


async def test_a_connection_that_has_gone_is_no_failure(pair: Pair) -> None:
    """The others hear it all the same."""
    server, client = pair
    gone, other = socket.socketpair()
    other.close()
    with gone:
        await goaway.send([gone, server])
    assert len(client.recv(100)) == 17


def test_a_process_finds_its_own_sockets_on_a_port(pair: Pair) -> None:
    """Those that listen apart from those that were accepted; a client's end is neither."""
    server, _ = pair
    port = server.getsockname()[1]
    with own_sockets.connections(port) as found:
        assert [each.getpeername() for each in found] == [server.getpeername()]
    with own_sockets.listeners(port) as found:
        assert found == []
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        own_sockets.listeners(listener.getsockname()[1]) as found,
    ):
        assert [each.getsockname() for each in found] == [listener.getsockname()]
