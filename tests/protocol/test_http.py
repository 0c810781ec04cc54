"""What is HTTP's own: paths, methods, headers, identity, credentials and limits."""

from __future__ import annotations

import gc
import gzip
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.frontends.http_protocol import GuardedProtocol
from tests.serving import Serving, serving, settings

REQUEST = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
INFER = "/v2/models/rows/infer"


@pytest.fixture
def engine() -> str:
    """None of this depends on the engine."""
    return "echo"


@pytest.fixture
def strict(repository: Path, tmp_path: Path) -> Iterator[Serving]:
    """A gateway with an admin key and small limits."""
    server = {"max_body_bytes": 4096, "max_header_bytes": 2048, "header_seconds": 0.5}
    chosen = settings(repository, "echo", admin_key="open sesame", server=server)
    with serving(chosen, tmp_path) as gateway:
        yield gateway


def test_the_request_id_is_echoed(http: httpx.Client) -> None:
    """On answers and refusals alike."""
    for path in (INFER, "/v2/models/nobody/infer"):
        answer = http.post(path, json=REQUEST, headers={"X-Request-Id": "r-17"})
        assert answer.headers["x-request-id"] == "r-17"


def test_a_request_id_is_made_where_none_is_given_or_none_is_plain(http: httpx.Client) -> None:
    """Each request gets its own; what could break a log line is not echoed."""
    made = {http.get("/v2").headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    long = "x" * 500
    assert http.get("/v2", headers={"X-Request-Id": long}).headers["x-request-id"] != long
    odd = http.get("/v2", headers={"X-Request-Id": "a b"})
    assert odd.headers["x-request-id"] != "a b"


@pytest.mark.parametrize(
    "path",
    ["/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models/rows/", "/v2/models/rows/ready"],
)
def test_what_can_be_got_can_be_asked_for_by_head(http: httpx.Client, path: str) -> None:
    """HEAD answers as GET does, without the body."""
    got, asked = http.get(path), http.head(path)
    assert got.status_code == asked.status_code == 200
    assert asked.content == b""
    assert asked.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", INFER, "POST"),
        ("POST", "/v2/models/rows", "GET, HEAD"),
        ("DELETE", "/v2/models/rows/config", "GET, HEAD"),
        ("GET", "/v2/repository/index", "POST"),
        ("GET", "/v2/repository/models/rows/load", "POST"),
        ("PUT", "/v2", "GET, HEAD"),
    ],
)
def test_another_method_is_405_and_names_the_right_one(
    http: httpx.Client, method: str, path: str, allowed: str
) -> None:
    """With `Allow`, as HTTP asks for."""
    answer = http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert f"{allowed} is expected" in answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/nothing",
        "/v2/models",
        "/v2/models/rows/nothing",
        "/v2/models/rows/versions",
        "/v2/models/rows/versions/1/nothing",
        "/v2/repository",
        "/v2/health",
    ],
)
def test_an_unknown_path_is_404_and_says_what_is_there(http: httpx.Client, path: str) -> None:
    """JSON, as every refusal."""
    answer = http.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]


@pytest.mark.parametrize("extension", ["trace/setting", "logging", "systemsharedmemory/status"])
def test_an_extension_that_is_not_offered_says_so(http: httpx.Client, extension: str) -> None:
    """501: the protocol knows it, this gateway does not offer it."""
    answer = http.get(f"/v2/{extension}")
    assert answer.status_code == 501
    assert "is not offered here" in answer.json()["error"]


def test_an_answer_is_compressed_only_for_who_accepts_it(http: httpx.Client) -> None:
    """And only where it is worth it."""
    wide = {
        "inputs": [
            {"name": "x", "shape": [8, 3], "datatype": "FP32", "data": [1 / 3] * 24},
        ],
        "id": "long" * 200,
    }
    plain = http.post(INFER, json=wide, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for accepted in ("gzip", "deflate", "br, gzip;q=0.5"):
        answer = http.post(INFER, json=wide, headers={"Accept-Encoding": accepted})
        assert answer.headers["content-encoding"] in accepted
        assert answer.json() == plain.json()
    refused = http.post(INFER, json=wide, headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers
    short = http.post(INFER, json=REQUEST, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in short.headers


def test_a_key_guards_what_changes_things(strict: Serving) -> None:
    """401 without or with another key; the right one may. Inference needs none."""
    with httpx.Client(base_url=strict.url) as http:
        load = "/v2/repository/models/rows/load"
        missing = http.post(load)
        assert missing.status_code == 401
        assert "Authorization: Bearer" in missing.json()["error"]
        wrong = http.post(load, headers={"Authorization": "Bearer open barley"})
        assert wrong.status_code == 401
        assert "is not the gateway's admin key" in wrong.json()["error"]
        right = http.post(load, headers={"Authorization": "Bearer open sesame"})
        assert right.status_code == 200
        assert http.post(INFER, json=REQUEST).status_code == 200


def test_routes_are_looked_at_again_by_whoever_may_administer(strict: Serving) -> None:
    """What the sync says after an alias has moved; it answers with the aliases as they are."""
    with httpx.Client(base_url=strict.url) as http:
        assert http.post("/lupine/v1/routes").status_code == 401
        key = {"Authorization": "Bearer open sesame"}
        assert http.post("/lupine/v1/routes", headers=key).json() == {}
        assert http.get("/lupine/v1/routes", headers=key).status_code == 405
        assert (
            "v1/sync, v1/rollback, v1/routes and v1/webhooks/mlflow are there"
            in http.post("/lupine/v1/x", headers=key).json()["error"]
        )


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "Origin"])
def test_behind_a_proxy_nobody_is_local(http: httpx.Client, header: str) -> None:
    """Without a key only a peer that is plainly local may load."""
    answer = http.post("/v2/repository/models/rows/load", headers={header: "10.0.0.9"})
    assert answer.status_code == 403
    assert "set LUPINE_ADMIN_KEY" in answer.json()["error"]


def test_a_body_over_the_limit_is_413(strict: Serving) -> None:
    """Declared, chunked or inflated: none is taken."""
    with httpx.Client(base_url=strict.url) as http:
        declared = http.post(INFER, content=b"x" * 5000)
        chunked = http.post(INFER, content=iter([b"x" * 3000] * 2))
        bomb = http.post(
            INFER, content=gzip.compress(b"x" * 100_000), headers={"Content-Encoding": "gzip"}
        )
    for answer in (declared, chunked, bomb):
        assert answer.status_code == 413
        assert "4096" in answer.json()["error"]
        assert answer.headers["connection"] == "close"


def test_a_head_over_the_limit_is_431(strict: Serving) -> None:
    """One long header, or many short ones."""
    with httpx.Client(base_url=strict.url) as http:
        for headers in ({"x-long": "y" * 3000}, {f"x-{i}": "y" * 20 for i in range(100)}):
            answer = http.get("/v2", headers=headers)
            assert answer.status_code == 431
            assert "more than 2048 bytes" in answer.json()["error"]


def test_an_answer_is_not_held_back_for_an_acknowledgement(http: httpx.Client) -> None:
    """Head and body are two writes: with Nagle's algorithm the second waits 40 ms."""
    http.post(INFER, json=REQUEST).raise_for_status()
    open_now = [p for p in _protocols() if not p.gone]
    assert open_now
    for protocol in open_now:
        connection = protocol.transport.get_extra_info("socket")
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_connection_that_ended_leaves_nothing_to_the_collector(gateway: Serving) -> None:
    """Else its headers would stay in memory for as long as the collector takes its time."""
    gc.collect()
    gc.disable()
    try:
        for headers in ({}, {f"x-{i}": "y" * 20 for i in range(5000)}):
            with httpx.Client(base_url=gateway.url, trust_env=False) as http:
                http.get("/v2", headers=headers)
        deadline = time.monotonic() + 5
        while _ended() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _ended()
    finally:
        gc.enable()


def _ended() -> int:
    return sum(protocol.gone for protocol in _protocols())


def _protocols() -> list[GuardedProtocol]:
    # By type alone: isinstance would ask strangers for their class, and some warn.
    return [each for each in gc.get_objects() if issubclass(type(each), GuardedProtocol)]


def test_metrics_never_name_an_unknown_model(http: httpx.Client, gateway: Serving) -> None:
    """Labels are bounded: what nobody loaded is counted without its name."""
    http.post("/v2/models/made-up-by-a-stranger/infer", json=REQUEST)
    http.post(INFER, json=REQUEST)
    text = gateway.gateway.telemetry.exposition().decode()
    assert 'model="rows"' in text
    assert "made-up-by-a-stranger" not in text
