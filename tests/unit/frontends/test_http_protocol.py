from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.serving import Serving, serving, settings

HEAD_BYTES = 2000
HEAD_SECONDS = 0.25
BODY_SECONDS = 0.3
IDLE_SECONDS = 0.4
BODY_BYTES = 200_000

CONFIG = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
"""
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A gateway with limits so small that a test can wait for them."""
    repository = tmp_path_factory.mktemp("repository")
    (repository / "m" / "1").mkdir(parents=True)
    (repository / "m" / "config.pbtxt").write_text(CONFIG)
    server = {
        "max_header_bytes": HEAD_BYTES,
        "header_seconds": HEAD_SECONDS,
        "body_idle_seconds": BODY_SECONDS,
        "keep_alive_seconds": IDLE_SECONDS,
        "max_body_bytes": BODY_BYTES,
    }
    chosen = settings(repository, server=server)
    with serving(chosen, tmp_path_factory.mktemp("run")) as found:
        yield found


class Wire:
    """A connection, byte by byte."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._seen = b""

    def send(self, data: bytes) -> None:
        """All of it."""
        self._socket.sendall(data)

    def trickle(self, data: bytes, piece: int, pause: float = 0.0) -> None:
        """Send piece by piece, until an answer is there."""
        for i in range(0, len(data), piece):
            if select.select([self._socket], [], [], pause)[0]:
                return
            self.send(data[i : i + piece])

    def _more(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            return False
        self._seen += data
        return bool(data)

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """The next answer: its code, headers by lower-case name, and JSON."""
        while b"\r\n\r\n" not in self._seen:
            assert self._more(), f"closed after {self._seen!r}"
        head, _, self._seen = self._seen.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        code = int(first.split()[1])
        headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._seen) < length:
            assert self._more()
        body, self._seen = self._seen[:length], self._seen[length:]
        return code, headers, json.loads(body) if body else None

    def closes_after(self, *, atleast: float, atmost: float) -> None:
        """The other side closes, having said nothing more, within these seconds from now."""
        started = time.monotonic()
        while self._more():
            pass
        assert self._seen == b""
        assert atleast <= time.monotonic() - started <= atmost

    def is_closed(self) -> None:
        """The other side has closed, having said nothing more."""
        self.closes_after(atleast=0, atmost=0.2)


@contextmanager
def connected(gateway: Serving) -> Iterator[Wire]:
    with socket.create_connection((gateway.host, gateway.port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Wire(connection)


@pytest.fixture
def wire(gateway: Serving) -> Iterator[Wire]:
    """A connection to the gateway."""
    with connected(gateway) as found:
        yield found


def infer(values: list[float], *lines: str, version: str = "1.1", latency: float = 0.0) -> bytes:
    """An inference request, its length declared, whose answer takes so many seconds."""
    body = message(values, **{"echo.latency_ms": latency * 1000})
    return head(*lines, f"Content-Length: {len(body)}", version=version) + body


def message(values: list[float], **parameters: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(values)], "data": values}
    return json.dumps({"inputs": [tensor], "parameters": parameters}).encode()


def head(*lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join(
        [f"POST /v2/models/m/infer HTTP/{version}", "Host: h", *lines, "", ""]
    ).encode()


def data_of(answer: tuple[int, dict[str, str], Any]) -> Any:
    code, _, body = answer
    assert code == 200, body
    return body["outputs"][0]["data"]


# ------------------------------------------------------------------ what works


def test_a_connection_serves_one_request_after_another(wire: Wire) -> None:
    """Keep-alive, which HTTP/1.1 has by default."""
    for value in range(5):
        wire.send(infer([value]))
        assert data_of(wire.answer()) == [value]


def test_requests_sent_ahead_are_answered_in_their_order(wire: Wire) -> None:
    """Pipelining: the slow one first, and its answer first."""
    slow = infer([0], latency=0.05)
    wire.send(slow + b"".join(infer([value]) for value in range(1, 6)) + LIVE)
    assert [data_of(wire.answer()) for _ in range(6)] == [[value] for value in range(6)]
    assert wire.answer()[2] == {"live": True}


def test_a_request_may_arrive_byte_by_byte(wire: Wire) -> None:
    """As long as it keeps arriving."""
    request = infer([7])
    for i in range(len(request)):
        wire.send(request[i : i + 1])
    assert data_of(wire.answer()) == [7]


def test_http_1_0_is_answered_and_closed(wire: Wire) -> None:
    """As that version has it."""
    wire.send(infer([3], version="1.0"))
    assert data_of(wire.answer()) == [3]
    wire.is_closed()


def test_a_client_that_asks_to_close_is_closed(wire: Wire) -> None:
    """After its answer."""
    wire.send(infer([3], "Connection: close"))
    assert data_of(wire.answer()) == [3]
    wire.is_closed()


def test_a_client_that_asks_first_is_told_to_go_on(wire: Wire) -> None:
    """`Expect: 100-continue`, as curl sends it with a large body."""
    body = message([1, 2])
    wire.send(head("Expect: 100-continue", f"Content-Length: {len(body)}"))
    assert wire.answer()[0] == 100
    wire.send(body)
    assert data_of(wire.answer()) == [1, 2]


def test_a_client_that_asks_first_with_too_much_is_refused_at_once(wire: Wire) -> None:
    """Before it sends a byte of it."""
    wire.send(head("Expect: 100-continue", f"Content-Length: {BODY_BYTES + 1}"))
    code, headers, body = wire.answer()
    assert code == 413
    assert str(BODY_BYTES) in body["error"]
    assert headers["connection"] == "close"


def test_a_chunked_body_is_taken(wire: Wire) -> None:
    """With extensions and trailers, in chunks of a few bytes."""
    body = message([1, 2, 3])
    wire.send(head("Transfer-Encoding: chunked"))
    for i in range(0, len(body), 7):
        part = body[i : i + 7]
        wire.send(f"{len(part):x};ext=1\r\n".encode() + part + b"\r\n")
    wire.send(b"0\r\nX-Trailer: 1\r\n\r\n")
    assert data_of(wire.answer()) == [1, 2, 3]


def test_a_chunked_body_over_the_limit_is_refused(wire: Wire) -> None:
    """Although it declares nothing."""
    wire.send(head("Transfer-Encoding: chunked"))
    wire.send(f"{BODY_BYTES + 1:x}\r\n".encode() + b" " * (BODY_BYTES + 1) + b"\r\n0\r\n\r\n")
    assert wire.answer()[0] == 413


def test_a_slow_answer_is_waited_for(wire: Wire) -> None:
    """The limits are the client's: none runs while the gateway works."""
    wire.send(infer([9], latency=IDLE_SECONDS + 0.1))
    assert data_of(wire.answer()) == [9]


# ------------------------------------------------------------------ heads


def filler(size: int) -> str:
    return "X-Filler: " + "x" * (size - len("X-Filler: "))


def test_a_head_below_the_limit_is_taken_in_one_piece(wire: Wire) -> None:
    """With room for little more."""
    wire.send(infer([1], filler(HEAD_BYTES - 200)))
    assert data_of(wire.answer()) == [1]


@pytest.mark.parametrize("piece", [29, 100, 1700])
def test_a_head_below_the_limit_is_taken_in_any_pieces(wire: Wire, piece: int) -> None:
    """The pieces are not counted twice, however many headers each of them ends."""
    lines = [f"X-Filler-{i}: {'x' * 40}" for i in range(30)]
    request = infer([1], *lines)
    assert len(request) < HEAD_BYTES
    wire.trickle(request, piece, pause=0.0005)
    assert data_of(wire.answer()) == [1]


def test_a_body_right_behind_the_rest_of_a_head_is_no_head(wire: Wire) -> None:
    """A head cut in two by the network, its second half in one piece with a large body."""
    request = infer([0.5] * 10_000)
    assert len(request) > 10 * HEAD_BYTES
    wire.send(request[:40])
    time.sleep(0.02)
    wire.send(request[40:])
    assert len(data_of(wire.answer())) == 10_000


TOO_LONG = {
    "one header": head(filler(HEAD_BYTES + 100)),
    "many headers": head(*[filler(100)] * (HEAD_BYTES // 100 + 1)),
    "the path": b"GET /" + b"x" * (HEAD_BYTES + 100) + b" HTTP/1.1\r\nHost: h\r\n\r\n",
}
ENDLESS = {
    "a header": head()[:-2] + b"X-Filler: " + b"x" * 100 * HEAD_BYTES,
    "a header's name": head()[:-2] + b"x" * 100 * HEAD_BYTES,
    "the path": b"GET /" + b"x" * 100 * HEAD_BYTES,
}


def is_refused_as_too_long(wire: Wire) -> None:
    code, headers, body = wire.answer()
    assert code == 431
    assert str(HEAD_BYTES) in body["error"]
    assert headers["connection"] == "close"
    wire.is_closed()


@pytest.mark.parametrize("what", TOO_LONG)
@pytest.mark.parametrize("piece", [100, 1_000_000])
def test_a_head_that_is_too_long_is_refused_and_closed(wire: Wire, what: str, piece: int) -> None:
    """431, the limit by its number, at once or in pieces."""
    wire.trickle(TOO_LONG[what], piece)
    is_refused_as_too_long(wire)


@pytest.mark.parametrize("what", ENDLESS)
def test_a_head_without_an_end_is_refused_as_soon_as_it_is_too_long(wire: Wire, what: str) -> None:
    """Although the parser keeps to itself what has no end."""
    wire.trickle(ENDLESS[what], 500, pause=0.001)
    is_refused_as_too_long(wire)


def test_a_head_that_is_no_http_is_refused_and_closed(wire: Wire) -> None:
    """In the form of every other refusal."""
    wire.send(b"what is this?\r\n\r\n")
    code, headers, body = wire.answer()
    assert code == 400
    assert body["error"]
    assert headers["content-type"] == "application/json"
    wire.is_closed()


@pytest.mark.parametrize("request_", [b"G", LIVE[:-2], head()[:-1]])
def test_a_head_that_does_not_end_is_refused_in_time(wire: Wire, request_: bytes) -> None:
    """408 after as long as a head may take."""
    started = time.monotonic()
    wire.send(request_)
    code, headers, body = wire.answer()
    assert code == 408
    assert HEAD_SECONDS - 0.05 <= time.monotonic() - started <= HEAD_SECONDS + 0.3
    assert "head took longer than 0.25 s" in body["error"]
    assert headers["connection"] == "close"
    wire.is_closed()


def test_a_head_that_trickles_is_refused_in_time(wire: Wire) -> None:
    """A byte now and then buys no time: the head as a whole may take so long."""
    started = time.monotonic()
    wire.trickle(head(), 1, pause=0.03)
    assert wire.answer()[0] == 408
    assert time.monotonic() - started <= HEAD_SECONDS + 0.3


def test_the_second_head_of_a_connection_is_held_to_its_time_as_well(wire: Wire) -> None:
    """And has its own."""
    wire.send(LIVE)
    assert wire.answer()[0] == 200
    wire.send(LIVE[:10])
    assert wire.answer()[0] == 408
    wire.is_closed()


@pytest.mark.parametrize("begun", [LIVE[:10], b"x" * 2 * HEAD_BYTES])
def test_a_refused_head_is_never_taken_for_the_answer_before_it(wire: Wire, begun: bytes) -> None:
    """A client that sends ahead hears its own answer, or that the connection closed."""
    slow = infer([1], latency=HEAD_SECONDS + 0.15)
    wire.send(slow + b"GET /" + begun)
    wire.closes_after(atleast=0, atmost=1)


# ------------------------------------------------------------------ bodies


def test_a_body_that_pauses_is_refused_in_time(wire: Wire) -> None:
    """408 after as long as it may pause."""
    started = time.monotonic()
    wire.send(infer([1, 2, 3])[:-5])
    code, headers, body = wire.answer()
    assert code == 408
    assert BODY_SECONDS - 0.05 <= time.monotonic() - started <= BODY_SECONDS + 0.3
    assert "the body paused for 0.3 s" in body["error"]
    assert headers["connection"] == "close"
    wire.is_closed()


def test_a_body_that_moves_may_take_longer_than_a_pause(wire: Wire) -> None:
    """A slow line is no crime."""
    request = infer([1, 2, 3])
    started = time.monotonic()
    for i in range(0, len(request), 40):
        wire.send(request[i : i + 40])
        time.sleep(BODY_SECONDS / 3)
    assert data_of(wire.answer()) == [1, 2, 3]
    assert time.monotonic() - started > BODY_SECONDS


@pytest.mark.parametrize(
    "endless",
    [b"1;ext=" + b"x" * 20 * HEAD_BYTES, b"0\r\nX-Trailer: " + b"x" * 20 * HEAD_BYTES],
)
def test_what_a_chunked_body_wraps_itself_in_is_bounded(wire: Wire, endless: bytes) -> None:
    """A chunk's extension or a trailer without an end fills no memory."""
    wire.send(head("Transfer-Encoding: chunked"))
    wire.trickle(endless, 500, pause=0.001)
    assert wire.answer()[0] == 431


# ------------------------------------------------------------------ idle connections


def test_an_idle_connection_is_closed_in_time(wire: Wire) -> None:
    """After its last answer, without a word."""
    wire.send(LIVE)
    assert wire.answer()[0] == 200
    wire.closes_after(atleast=IDLE_SECONDS - 0.1, atmost=IDLE_SECONDS + 0.3)


def test_a_connection_that_never_asks_is_closed_in_time(wire: Wire) -> None:
    """Nobody holds a place by connecting alone."""
    wire.closes_after(atleast=IDLE_SECONDS - 0.1, atmost=IDLE_SECONDS + 0.3)


@pytest.mark.parametrize("before", [b"", LIVE])
def test_an_empty_line_is_no_request(wire: Wire, before: bytes) -> None:
    """Nor does it keep a connection open for ever."""
    if before:
        wire.send(before)
        assert wire.answer()[0] == 200
    wire.send(b"\r\n")
    wire.closes_after(atleast=IDLE_SECONDS - 0.1, atmost=IDLE_SECONDS + 0.3)


def test_a_connection_stays_open_between_requests(wire: Wire) -> None:
    """For less than the idle time, again and again."""
    for _ in range(3):
        wire.send(LIVE)
        assert wire.answer()[0] == 200
        time.sleep(IDLE_SECONDS / 2)


def test_one_slow_client_holds_up_no_other(gateway: Serving) -> None:
    """While it trickles, others are answered."""
    with connected(gateway) as slow, connected(gateway) as quick:
        slow.send(LIVE[:5])
        for value in range(10):
            quick.send(infer([value]))
            assert data_of(quick.answer()) == [value]
        assert slow.answer()[0] == 408


def test_a_client_that_hangs_up_gives_its_permit_back(gateway: Serving) -> None:
    """What nobody waits for is not waited for: its permit is free long before its run would end."""
    body = json.dumps(
        {
            "parameters": {"echo.latency_ms": 3_000},
            "inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [0]}],
        }
    ).encode()
    head = f"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"

    def permits() -> int:
        lines = gateway.gateway.telemetry.exposition().decode().splitlines()
        found = [line for line in lines if line.startswith("lupine_inflight_requests ")]
        return int(float(found[0].split()[1]))

    def until(wanted: int) -> None:
        deadline = time.monotonic() + 2
        while permits() != wanted:
            assert time.monotonic() < deadline, f"{permits()} permits are out, not {wanted}"
            time.sleep(0.01)

    with socket.create_connection((gateway.host, gateway.port)) as connection:
        connection.sendall(head.encode() + body)
        until(1)
    until(0)


@pytest.mark.parametrize("hosts", [(), ("a", "b")], ids=["none", "two"])
def test_a_request_names_exactly_one_host(gateway: Serving, hosts: tuple[str, ...]) -> None:
    """What is behind a proxy must not guess which host was meant."""
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    with socket.create_connection((gateway.host, gateway.port)) as connection:
        connection.sendall(f"GET /v2/health/live HTTP/1.1\r\n{lines}\r\n".encode())
        code, _, body = Wire(connection).answer()
    assert code == 400
    assert body == {"error": "the request has not exactly one header Host"}
