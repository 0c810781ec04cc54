"""Sends one case over a socket of its own, and judges what came of it."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from dataclasses import dataclass

from benchmarks.hostile.bodies import good
from benchmarks.hostile.case import Case

_GIVE_UP = 15.0
_STATUS_LINE = re.compile(rb"HTTP/1\.1 \d{3} ")
_LINGER = 0.3  # a second answer on the same connection would have come by then


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case."""

    status: int  # 0: closed without an answer
    reason: str  # the `error` of the answer
    seconds: float
    fault: str  # what is wrong with it; empty: nothing


def fire(address: tuple[str, int], case: Case) -> Outcome:
    """Send a case and judge the answer."""
    begun = time.monotonic()
    received, ended = _exchange(address, case, begun + _GIVE_UP)
    seconds = time.monotonic() - begun
    if not received:
        hung = "" if ended else f"no answer within {_GIVE_UP:g} s"
        closed = "" if case.may_close else "closed without an answer"
        return Outcome(0, "", seconds, hung or closed)
    status, reason, fault = _judge(received, case)
    return Outcome(status, reason, seconds, fault)


def ask(address: tuple[str, int]) -> bytes:
    """The body that a good request gets; empty where it gets none, or no 200."""
    try:
        with socket.create_connection(address, timeout=_GIVE_UP) as connection:
            connection.sendall(good())
            head, _, body = _read_answer(connection, b"").partition(b"\r\n\r\n")
    except OSError:
        return b""
    return body if head.startswith(b"HTTP/1.1 200") else b""


def _exchange(address: tuple[str, int], case: Case, deadline: float) -> tuple[bytes, bool]:
    """What was received, and whether the other side ended or answered."""
    with socket.create_connection(address, timeout=_GIVE_UP) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in case.pieces():
                if select.select([connection], [], [], case.pause)[0]:
                    break  # it has answered, or closed, before the end
                connection.sendall(piece)
                if time.monotonic() > deadline:
                    return b"", False
            if case.half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed: what it said before is still there
        connection.settimeout(max(deadline - time.monotonic(), 0.1))
        try:
            received = _read_answer(connection, b"")
            connection.settimeout(_LINGER)
            if case.category == "smuggling":
                received += _read_rest(connection)
        except TimeoutError:
            return b"", False
        except OSError:
            return b"", True
    return received, True


def _read_answer(connection: socket.socket, data: bytes) -> bytes:
    """One whole answer, by its Content-Length, or whatever came before the end."""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    head = data.partition(b"\r\n\r\n")[0]
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(data) < len(head) + 4 + length:
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    return data


def _read_rest(connection: socket.socket) -> bytes:
    rest = b""
    try:
        while part := connection.recv(65536):
            rest += part
    except OSError:
        pass
    return rest


def _judge(received: bytes, case: Case) -> tuple[int, str, str]:
    head, _, body = received.partition(b"\r\n\r\n")
    try:
        status = int(head.split(b" ", 2)[1])
    except (IndexError, ValueError):
        return 0, "", f"no HTTP: {received[:80]!r}"
    if len(_STATUS_LINE.findall(received)) > 1:
        return status, "", "the smuggled request was answered"
    if status not in case.expected:
        return status, "", f"{status}, {sorted(case.expected)} expected: {body[:200]!r}"
    try:
        reason = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return status, "", f"{status} without a reason: {body[:200]!r}"
    if not isinstance(reason, str) or not reason or len(reason) > 4096:
        return status, "", f"{status} with a reason that is none: {body[:200]!r}"
    return status, reason, ""
