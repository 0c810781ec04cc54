"""The access log of a gateway: what a line says of each request over HTTP."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.frontends.edge import Edge
from service.frontends.http_body import Receive
from service.frontends.http_call import Call, Scope, Send
from service.settings import TelemetrySettings
from service.telemetry import Telemetry
from tests.serving import Serving, serving, settings
from tests.unit.frontends.test_http_protocol import CONFIG, message

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Log:
    """A gateway's access log, and how to ask the gateway."""

    def __init__(self, path: Path, gateway: Serving) -> None:
        self.path = path
        self.gateway = gateway
        self._seen = 0

    def ask(self, method: str, path: str, **more: Any) -> tuple[httpx.Response, dict[str, Any]]:
        """A request's answer, and its line."""
        answer = httpx.request(method, self.gateway.url + path, trust_env=False, **more)
        return answer, self.line()

    def line(self) -> dict[str, Any]:
        """The next line, once it is there."""
        lines: list[bytes] = []
        while len(lines) <= self._seen:
            lines = self.path.read_bytes().splitlines()
        self._seen += 1
        found: dict[str, Any] = json.loads(lines[self._seen - 1])
        return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """Of a gateway that serves the model `m`."""
    (tmp_path / "repository" / "m" / "1").mkdir(parents=True)
    (tmp_path / "repository" / "m" / "config.pbtxt").write_text(CONFIG)
    (tmp_path / "run").mkdir()
    target = tmp_path / "access"
    chosen = settings(tmp_path / "repository", telemetry={"access_log": str(target)})
    with serving(chosen, tmp_path / "run") as gateway:
        yield Log(target, gateway)


def test_an_inference_is_one_line(log: Log) -> None:
    """Model, version, sizes, wait, trace, and never the query or what the body holds."""
    body = message([4242.0])
    answer, line = log.ask(
        "POST",
        "/v2/models/m/infer?token=secret",
        content=body,
        headers={
            "X-Request-Id": "mine",
            "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
            "Authorization": "Bearer secret",
        },
    )
    assert answer.headers["x-request-id"] == line["request"] == "mine"
    assert line["protocol"] == "http"
    assert line["verb"] == "POST /v2/models/m/infer"
    assert (line["model"], line["version"], line["code"]) == ("m", "1", "200")
    assert line["request_bytes"] == len(body)
    assert line["response_bytes"] == len(answer.content)
    assert line["trace"] == TRACE
    assert (line["rows"], line["batch_rows"]) == (1, 1)
    assert 0 <= line["queue_seconds"] <= line["seconds"]
    assert line["peer"].startswith("127.0.0.1:")
    assert b"secret" not in log.path.read_bytes()
    assert b"4242" not in log.path.read_bytes()


@pytest.mark.parametrize(
    ("method", "path", "model", "code"),
    [
        ("GET", "/v2", "", 200),
        ("GET", "/v2/health/live", "", 200),
        ("GET", "/v2/models/m", "m", 200),
        ("GET", "/v2/models/m/versions/1/config", "m", 200),
        ("GET", "/v2/models/stats", "", 200),
        ("POST", "/v2/repository/index", "", 200),
        ("POST", "/v2/repository/models/m/load", "m", 200),
        ("POST", "/v2/repository/models/nobody/unload", "nobody", 404),
        ("GET", "/v2/models/nobody", "nobody", 404),
        ("GET", "/v2/models/m/infer", "m", 405),
        ("POST", "/v2/models/m/infer", "m", 400),
        ("GET", "/v2/nothing", "", 404),
        ("GET", "/v2/models/%FF", "\N{REPLACEMENT CHARACTER}", 400),
    ],
)
def test_every_verb_has_its_line(log: Log, method: str, path: str, model: str, code: int) -> None:
    """With the status that the client saw, and the request's id that it was given."""
    answer, line = log.ask(method, path)
    assert (line.get("model", ""), line["code"]) == (model, str(code))
    assert answer.status_code == code
    assert line["request"] == answer.headers["x-request-id"] != ""
    assert line["verb"] == f"{method} {path}"


def test_a_client_cannot_forge_a_line(log: Log) -> None:
    """Whatever it calls a model."""
    forged = "%22%7D%0A%7B%22code%22:%22200%22%7D"
    _, line = log.ask("POST", f"/v2/models/{forged}/infer", content=message([1.0]))
    assert line["model"] == '"}\n{"code":"200"}'
    assert line["code"] == "404"
    assert len(log.path.read_bytes().splitlines()) == 1


def test_a_body_without_a_length_is_measured(log: Log) -> None:
    """As far as it was read, decompressed where it was compressed."""
    body = message([1.0])

    def pieces() -> Iterator[bytes]:
        yield gzip.compress(body)

    _, line = log.ask(
        "POST", "/v2/models/m/infer", content=pieces(), headers={"Content-Encoding": "gzip"}
    )
    assert (line["code"], line["request_bytes"]) == ("200", len(body))


def test_a_client_that_left_is_499(log: Log) -> None:
    """As nginx has it: nobody heard the answer."""
    body = message([1.0], **{"echo.latency_ms": 500})
    head = f"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((log.gateway.host, log.gateway.port)) as connection:
        connection.sendall(head.encode() + body)
    line = log.line()
    assert (line["code"], line["response_bytes"]) == ("499", 0)


async def test_what_bentoml_answers_has_its_line_too(tmp_path: Path) -> None:
    """With the bytes of both bodies, and the span in its scope."""
    target = tmp_path / "access"
    telemetry = Telemetry(TelemetrySettings(access_log=str(target)))
    telemetry.start()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/broken":
            raise RuntimeError(scope["path"])
        await receive()
        scope["lupine.span"].queued = 0.5
        await Call(scope, receive, send).answer(200, b"12345")

    edge = Edge(app, max_bytes=100, telemetry=telemetry)
    transport = httpx.ASGITransport(edge, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        await client.post("/identify", content=b"123")
        await client.post("/identify", content=b"1" * 101)
        await client.get("/broken")
    telemetry.stop()
    lines = [json.loads(each) for each in target.read_bytes().splitlines()]
    assert [line["code"] for line in lines] == ["200", "413", "500"]
    assert [line["verb"] for line in lines] == ["POST /identify"] * 2 + ["GET /broken"]
    assert (lines[0]["request_bytes"], lines[0]["response_bytes"]) == (3, 5)
    assert lines[0]["queue_seconds"] == 0.5
