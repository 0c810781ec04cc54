"""Inference that bypasses ASGI: which requests do, and that nobody can tell the difference."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from service.frontends.http_direct import DirectFrontend
from service.wires import oip_json
from tests.serving import Serving, serving, settings
from tests.unit.frontends.test_http_protocol import CONFIG, Wire, connected, head, infer, message


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """With an echo engine, in whose requests a latency may be asked for."""
    repository = tmp_path_factory.mktemp("repository")
    (repository / "m" / "1").mkdir(parents=True)
    (repository / "m" / "config.pbtxt").write_text(CONFIG)
    server = {"max_body_bytes": 300_000, "max_buffered_bytes": 400_000}
    with serving(settings(repository, server=server), tmp_path_factory.mktemp("run")) as found:
        yield found


@pytest.fixture
def wire(gateway: Serving) -> Iterator[Wire]:
    """A connection to the gateway."""
    with connected(gateway) as found:
        yield found


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request that came was taken past ASGI."""
    seen: list[bool] = []
    take = DirectFrontend.take

    def watched(self: DirectFrontend, connection: Any) -> Any:
        found = take(self, connection)
        seen.append(found is not None)
        return found

    monkeypatch.setattr(DirectFrontend, "take", watched)
    return seen


def values(answer: tuple[int, dict[str, str], Any]) -> list[float]:
    """What the echo says."""
    code, _, body = answer
    assert code == 200, body
    found: list[float] = body["outputs"][0]["data"]
    return found


BODY = message([1.0])
LENGTH = f"Content-Length: {len(BODY)}"


def test_a_plain_request_is_taken(wire: Wire, taken: list[bool]) -> None:
    """With a version or without, again and again on one connection."""
    for path in (b"/v2/models/m/infer", b"/v2/models/m/versions/1/infer"):
        wire.send(infer([1.0]).replace(b"/v2/models/m/infer", path))
        assert values(wire.answer()) == [1.0]
    assert taken == [True, True]


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["Transfer-Encoding: chunked"], b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
        (["Content-Encoding: gzip", f"Content-Length: {len(gzip.compress(BODY))}"],
         gzip.compress(BODY)),
        ([LENGTH, "traceparent: 00-" + "1" * 32 + "-" + "2" * 16 + "-01"], BODY),
    ],
    ids=["chunked", "gzip", "traced"],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_asgi(
    wire: Wire, taken: list[bool], lines: list[str], body: bytes
) -> None:
    """And answered all the same."""
    wire.send(head(*lines) + body)
    assert values(wire.answer()) == [1.0]
    wire.send(infer([2.0]))
    assert values(wire.answer()) == [2.0]
    assert taken == [False, True]


@pytest.mark.parametrize("path", [b"/v2/models/%6d/infer", b"/v2/models/m/infer/", b"/v2//models"])
def test_a_path_that_is_not_plain_is_left_to_asgi(
    wire: Wire, taken: list[bool], path: bytes
) -> None:
    """Whatever it makes of it."""
    wire.send(infer([1.0]).replace(b"/v2/models/m/infer", path))
    wire.answer()
    assert taken == [False]


def test_requests_sent_ahead_are_answered_in_order(wire: Wire, taken: list[bool]) -> None:
    """The first is taken; those behind it wait for it, however fast they are."""
    wire.send(infer([1.0], latency=0.1) + infer([2.0]) + infer([3.0], latency=0.05))
    assert [values(wire.answer()) for _ in range(3)] == [[1.0], [2.0], [3.0]]
    assert taken == [True]
    wire.send(infer([4.0]))
    assert values(wire.answer()) == [4.0]
    assert taken == [True, True]


def test_a_body_in_pieces_is_one(wire: Wire) -> None:
    """Byte by byte, too."""
    for byte in infer([7.0]):
        wire.send(bytes([byte]))
    assert values(wire.answer()) == [7.0]


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"{", 400, "the request's JSON"),
        (b"", 400, "the body is empty"),
        (message([1.0]).replace(b'"x"', b'"z"'), 400, "has no input 'z'"),
    ],
)
def test_a_refusal_keeps_the_connection(wire: Wire, body: bytes, code: int, text: str) -> None:
    """With its reason and the request's id."""
    wire.send(head(f"Content-Length: {len(body)}", "X-Request-Id: mine") + body)
    found, headers, told = wire.answer()
    assert found == code
    assert text in told["error"]
    assert headers["x-request-id"] == "mine"
    wire.send(infer([1.0]))
    assert values(wire.answer()) == [1.0]


def test_an_unknown_model_is_not_found(wire: Wire) -> None:
    """As over ASGI."""
    wire.send(infer([1.0]).replace(b"/m/", b"/nobody/"))
    code, _, told = wire.answer()
    assert (code, told) == (404, {"error": "no model 'nobody' is known here"})


def test_a_deadline_is_kept(wire: Wire) -> None:
    """Told in time, not when the engine is done."""
    wire.send(infer([1.0], "X-Request-Timeout-Ms: 50", latency=3.0))
    started = time.monotonic()
    assert wire.answer()[0] == 504
    assert time.monotonic() - started < 1.5


def test_a_client_may_ask_for_the_connection_to_end(wire: Wire) -> None:
    """The answer says so too."""
    wire.send(infer([1.0], "Connection: close"))
    code, headers, _ = wire.answer()
    assert (code, headers["connection"]) == (200, "close")
    wire.is_closed()


def test_a_large_answer_is_compressed_for_whoever_takes_it(wire: Wire) -> None:
    """A small one is not worth it."""
    many = [float(number % 7) for number in range(5000)]
    body = message(many)
    wire.send(head(f"Content-Length: {len(body)}", "Accept-Encoding: gzip") + body)
    wire._socket.settimeout(5)
    data = b""
    while b"\r\n\r\n" not in data:
        data += wire._socket.recv(65536)
    told, _, rest = data.partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in told
    length = int(told.split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(rest) < length:
        rest += wire._socket.recv(65536)
    assert json.loads(gzip.decompress(rest))["outputs"][0]["data"] == many


def test_bytes_held_are_given_back_however_a_request_ends(gateway: Serving, wire: Wire) -> None:
    """Answered, refused, or its client gone before or after the body was whole."""
    held = gateway.gateway.direct.held
    body = message([1.0] * 50_000)
    wire.send(head(f"Content-Length: {len(body)}") + body)
    wire.answer()
    wire.send(head(f"Content-Length: {len(body)}") + b"x" * len(body))
    assert wire.answer()[0] == 400
    with socket.create_connection((gateway.host, gateway.port)) as half:
        half.sendall(head(f"Content-Length: {len(body)}") + body[:100_000])
        time.sleep(0.1)
        assert held.count > 0
    with socket.create_connection((gateway.host, gateway.port)) as waits:
        waits.sendall(infer([1.0] * 1000, latency=5.0))
        time.sleep(0.1)
        assert held.count > 0
    end = time.monotonic() + 2
    while held.count and time.monotonic() < end:
        time.sleep(0.01)
    assert held.count == 0
    assert gateway.gateway.dataplane.inflight == 0


def test_more_bytes_than_may_be_held_are_shed(gateway: Serving, wire: Wire) -> None:
    """While others hold them."""
    body = message([1.0] * 50_000)
    assert 200_000 < len(body) < 300_000
    with socket.create_connection((gateway.host, gateway.port)) as holds:
        holds.sendall(head(f"Content-Length: {len(body)}") + body[:-1])
        time.sleep(0.1)
        wire.send(head(f"Content-Length: {len(body)}") + body)
        code, headers, _ = wire.answer()
        assert code == 429
        assert int(headers["retry-after"]) >= 1
    wire.send(infer([1.0]))
    assert values(wire.answer()) == [1.0]


def test_a_defect_is_answered_and_logged(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it shows on the way in or on the way out."""

    def breaks(*_: object, **__: object) -> Any:
        raise RuntimeError("a defect")

    for name in ("decode_request", "encode_response"):
        with monkeypatch.context() as patched:
            patched.setattr(oip_json, name, breaks)
            wire.send(infer([1.0], "X-Request-Id: mine"))
            code, _, told = wire.answer()
        assert code == 500
        assert "mine" in told["error"]
        assert "a defect" not in told["error"]
    assert caplog.text.count("request mine failed") == 2
    wire.send(infer([1.0]))
    assert values(wire.answer()) == [1.0]


def test_a_defect_is_answered_where_the_engine_is_asked_first(
    gateway: Serving, wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where it is not: nobody waits for ever."""

    async def breaks(*_: object) -> Any:
        raise RuntimeError("a defect")

    plane = gateway.gateway.dataplane
    with monkeypatch.context() as patched:
        patched.setattr(type(plane), "prompt", property(lambda _: False))
        patched.setattr(plane, "infer", breaks)
        wire.send(infer([1.0], "X-Request-Id: mine"))
        code, _, told = wire.answer()
    assert code == 500
    assert "mine" in told["error"]
    assert caplog.text.count("request mine failed") == 1
