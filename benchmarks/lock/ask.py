"""Asks a gateway, from a chosen address, with chosen headers; and reads what state it is in."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass

import grpc

from benchmarks.hostile import http2_call
from benchmarks.lock.callers import Headers
from benchmarks.lock.peers import Peer
from benchmarks.lock.verbs import Fate, Verb

_SECONDS = 15.0
_HTTP = {
    200: Fate.DONE,
    400: Fate.INVALID,
    401: Fate.UNAUTHENTICATED,
    403: Fate.FORBIDDEN,
    404: Fate.NOT_FOUND,
    405: Fate.NOT_ALLOWED,
    501: Fate.NOT_OFFERED,
}
_GRPC = {
    grpc.StatusCode.OK: Fate.DONE,
    grpc.StatusCode.UNAUTHENTICATED: Fate.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: Fate.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: Fate.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED: Fate.NOT_OFFERED,
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a verb.

    Args:
        fate: None: nothing that a verb should be answered.
        text: the status and the reason.
    """

    fate: Fate | None
    text: str


def ask(ports: tuple[int, int], peer: Peer, headers: Headers, verb: Verb) -> Answer:
    """Send a verb.

    Args:
        ports: of HTTP and of gRPC.
        peer: both addresses.
        headers: who asks.
        verb: what for.
    """
    return (_http if verb.wire == "http" else _grpc)(ports, peer, headers, verb)


def _http(ports: tuple[int, int], peer: Peer, headers: Headers, verb: Verb) -> Answer:
    connection = http.client.HTTPConnection(
        peer.target, ports[0], timeout=_SECONDS, source_address=(peer.source, 0)
    )
    try:
        connection.putrequest(verb.method, verb.target, skip_host=True, skip_accept_encoding=True)
        for name, value in (("host", "gateway"), *headers, *filter(None, [verb.header])):
            connection.putheader(name, value.encode("latin-1"))
        connection.putheader("content-length", str(len(verb.body)))
        connection.endheaders(verb.body)
        # As over gRPC: its port is free at once.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, http2_call.NO_LINGER)
        with connection.getresponse() as answer:
            text = f"{answer.status} {answer.read(300).decode(errors='replace')}"
            return Answer(_HTTP.get(answer.status), text)
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, f"no answer: {error!r}")
    finally:
        connection.close()


def _grpc(ports: tuple[int, int], peer: Peer, headers: Headers, verb: Verb) -> Answer:
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", f"/{verb.target}"),
        (":authority", "gateway"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *headers,
    ]
    found = http2_call.call(
        (peer.target, ports[1]),
        [(name.encode(), value.encode("latin-1")) for name, value in fields],
        b"\0" + len(verb.body).to_bytes(4, "big") + verb.body,
        ends=True,
        seconds=_SECONDS,
        source=peer.source,
    )
    if found.grpc is None:
        return Answer(None, f"no status: {found}")
    code = _CODES[found.grpc]
    return Answer(_GRPC.get(code), f"{code.name} {found.details}")


class Index:
    """The repository index, over a connection that stays.

    Args:
        host: a loopback address of the gateway.
        port: of HTTP.
    """

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)

    def read(self) -> dict[str, str]:
        """The state of each model and version."""
        self._connection.request("POST", "/v2/repository/index")
        with self._connection.getresponse() as answer:
            found = json.loads(answer.read())
        return {f"{each['name']}/{each.get('version', '')}": each["state"] for each in found}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
