"""One gRPC call over a connection of its own, whose headers and frames may be anything."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from hpack import Encoder

_STREAM = 1
NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Answer:
    """What the server said of a call."""

    http: int = 0  # 0: no head
    grpc: int | None = None
    details: str = ""
    ended: str = ""  # how: "trailers", or a reset, a GOAWAY, a close; empty: not within the time


class _Plain(Encoder):
    """Without Huffman's code, which takes hpack minutes for a megabyte."""

    def encode(self, headers: Any, huffman: bool = False) -> bytes:  # noqa: FBT001, FBT002 - as inherited
        """A header block."""
        return super().encode(headers, huffman)


def call(
    address: tuple[str, int],
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
    *,
    ends: bool,
    seconds: float,
    source: str = "",
) -> Answer:
    """Send it as well as the server's flow control lets us, and wait for the end of the answer.

    Where a `source` is given, the connection comes from that address, and leaves no trace on it:
    the port of a bound socket that waits for stray packets could be listened on by nobody.
    """
    answer = Answer()
    config = H2Configuration(
        client_side=True,
        header_encoding="latin-1",
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
    )
    connection = H2Connection(config)
    connection.encoder = _Plain()
    origin = (source, 0) if source else None
    with socket.create_connection(address, seconds, origin) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        try:
            _converse(wire, connection, headers, body, answer, ends=ends, seconds=seconds)
        except TimeoutError:
            pass
        except (OSError, ProtocolError) as error:
            answer.ended = answer.ended or f"closed: {type(error).__name__}"
    return answer


def _converse(
    wire: socket.socket,
    connection: H2Connection,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
    answer: Answer,
    *,
    ends: bool,
    seconds: float,
) -> None:
    deadline = time.monotonic() + seconds
    _greet(wire, connection)
    connection.send_headers(_STREAM, headers, end_stream=ends and not body)
    rest = memoryview(body)
    while not answer.ended:
        rest = _push(connection, rest, ends=ends)
        wire.sendall(connection.data_to_send())
        wire.settimeout(max(deadline - time.monotonic(), 0.01))
        data = wire.recv(65536)
        if not data:
            answer.ended = "closed"
            return
        for event in connection.receive_data(data):
            _take(event, answer)


def _greet(wire: socket.socket, connection: H2Connection) -> None:
    """Exchange settings: until we acknowledge its own, the server's limits do not hold."""
    connection.initiate_connection()
    greeted = False
    while not greeted:
        wire.sendall(connection.data_to_send())
        data = wire.recv(65536)
        if not data:
            raise ConnectionResetError("closed amid the settings")
        events = connection.receive_data(data)
        greeted = any(isinstance(event, RemoteSettingsChanged) for event in events)


def _push(connection: H2Connection, rest: memoryview, *, ends: bool) -> memoryview:
    """Send what the windows allow, and return what is left."""
    while rest:
        size = min(
            connection.local_flow_control_window(_STREAM),
            connection.max_outbound_frame_size,
            len(rest),
        )
        if size <= 0:
            break
        connection.send_data(_STREAM, rest[:size].tobytes(), end_stream=ends and size == len(rest))
        rest = rest[size:]
    return rest


def _take(event: Event, answer: Answer) -> None:
    if isinstance(event, ResponseReceived | TrailersReceived):
        found = {_text(name): _text(value) for name, value in event.headers or ()}
        if ":status" in found:
            answer.http = int(found[":status"])
        if "grpc-status" in found:
            answer.grpc = int(found["grpc-status"])
            answer.details = unquote(found.get("grpc-message", ""))
    elif isinstance(event, StreamEnded):
        answer.ended = "trailers"
    elif isinstance(event, StreamReset):
        answer.ended = f"reset: {_word(event.error_code)}"
    elif isinstance(event, ConnectionTerminated):
        extra = (event.additional_data or b"").decode(errors="replace")
        answer.ended = f"goaway: {_word(event.error_code)} {extra}".strip()


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _word(code: ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, ErrorCodes) else str(code)
