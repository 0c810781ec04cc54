from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks.load.gateway_metrics import between, fetch, histograms

DURATION = "lupine_request_duration_seconds"
ROWS = "lupine_batch_rows"


def line(
    count: float, le: str = "0.1", model: str = "m", code: str = "200", version: str = "1"
) -> str:
    protocol = "grpc" if code.isalpha() else "http"
    labels = f'model="{model}",version="{version}",protocol="{protocol}",code="{code}",le="{le}"'
    return f"{DURATION}_bucket{{{labels}}} {count}\n"


HEAD = f"# HELP {DURATION} Time.\n# TYPE {DURATION} histogram\n"


def test_only_good_answers_count_and_versions_are_added_up() -> None:
    """By model, protocol and edge; a client has no latency of what was refused."""
    found = histograms(
        HEAD
        + line(3)
        + line(5, "+Inf")
        + line(4, version="2")
        + line(90, code="503")
        + line(7, code="OK")
        + line(80, code="UNAVAILABLE")
        + line(2, model="n")
    )
    assert found == {
        (DURATION, "m", "http"): {"0.1": 7.0, "+Inf": 5.0},
        (DURATION, "m", "grpc"): {"0.1": 7.0},
        (DURATION, "n", "http"): {"0.1": 2.0},
    }


def test_histograms_without_a_code_are_taken_whole_and_others_not_at_all() -> None:
    """Batches have none."""
    found = histograms(
        f'# TYPE {ROWS} histogram\n{ROWS}_bucket{{model="m",le="1"}} 2\n{ROWS}_sum{{model="m"}} 9\n'
        '# TYPE nv_x histogram\nnv_x_bucket{model="m",le="1"} 2\n'
    )
    assert found == {(ROWS, "m", ""): {"1": 2.0}}


def test_between_two_looks_is_the_difference() -> None:
    """What was not there before counted from nothing."""
    before = histograms(HEAD + line(3) + line(5, "+Inf"))
    after = histograms(HEAD + line(10) + line(11, "0.2") + line(14, "+Inf") + line(6, code="OK"))
    assert between(before, after, DURATION, "m", "http") == {"0.1": 7.0, "0.2": 11.0, "inf": 9.0}
    assert between(before, after, DURATION, "m", "grpc") == {"0.1": 6.0}
    assert between(before, after, DURATION, "nobody", "http") == {}
    assert between({}, {}, DURATION, "m", "http") == {}


def test_a_gateway_that_started_anew_tells_nothing() -> None:
    """Its counts began again somewhere between the looks."""
    before, after = histograms(HEAD + line(30)), histograms(HEAD + line(10))
    assert between(before, after, DURATION, "m", "http") == {}


@pytest.mark.parametrize("text", ["", "<html>no metrics</html>", 'x{le="0.1} 5\n', "x 1 2 3 4\n"])
def test_what_is_no_metrics_holds_no_histograms(text: str) -> None:
    """The server need not be ours."""
    assert histograms(text) == {}


@contextmanager
def answering(raw: bytes) -> Iterator[str]:
    """A server that says this, whatever it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(raw)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nx 1\n", "x 1\n"),
        (b"HTTP/1.0 404 Not Found\r\n\r\nno", None),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\nx 1\n", None),
        (b"HTTP/1.0 200 OK\r\n\r\n\xff", None),
        (b"no HTTP at all\r\n\r\n", None),
        (b"", None),
    ],
)
def test_a_server_without_metrics_is_no_error(
    raw: bytes, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it says instead; and no proxy is asked in its place."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with answering(raw) as url:
        assert fetch(url) == told


def test_nobody_there_is_no_error() -> None:
    """The load itself will show it."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    assert fetch(f"http://127.0.0.1:{port}") is None
