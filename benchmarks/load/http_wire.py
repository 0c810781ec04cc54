"""One caller over HTTP: a keep-alive connection of its own."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any
from urllib.parse import quote

import gevent
import msgspec
from geventhttpclient import URL, HTTPClient

from benchmarks.load.wire import Answer, failed, judged
from benchmarks.sla import Target
from benchmarks.wires import oip_http
from benchmarks.workloads import Prepared

_OK = 200


class HttpWire:
    """Asks one request at a time.

    Args:
        url: of the gateway.
        target: what is asked.
        timeout: seconds.
        ids: of requests; shared by all callers of the process.
    """

    def __init__(self, url: str, target: Target, timeout: float, ids: Iterator[str]) -> None:
        version = f"/versions/{quote(target.version, safe='')}" if target.version else ""
        self._path = f"/v2/models/{quote(target.model, safe='')}{version}/infer"
        self._binary = target.wire == "http-binary"
        self._headers = {"Content-Type": "application/json", **target.headers}
        if self._binary:
            self._headers["Content-Type"] = "application/octet-stream"
        self._timeout = timeout
        self._ids = ids
        self._url = URL(url)
        self._client = self._fresh()

    def _fresh(self) -> Any:
        return HTTPClient.from_url(
            self._url,
            concurrency=1,
            connection_timeout=self._timeout,
            network_timeout=self._timeout,
        )

    def _drop(self) -> None:
        """What is late on a connection must not be taken for the next answer."""
        self._client.close()
        self._client = self._fresh()

    def connect(self) -> float:
        """Make the connection. Returns how long that took, in seconds.

        Raises:
            OSError: it is refused, or takes longer than the timeout.
        """
        begun = perf_counter()
        pool = self._client._connection_pool  # noqa: SLF001 - it has no public way to connect ahead
        pool.return_socket(pool.get_socket())
        return perf_counter() - begun

    def ask(self, prepared: Prepared, tolerance: float) -> Answer:
        """Send a request, wait for its answer, and judge it."""
        identity = next(self._ids)
        headers = self._headers
        if self._binary:
            headers = headers | {oip_http.LENGTH: str(prepared.json_length)}
        content = prepared.bytes_for(identity)
        begun = perf_counter()
        try:
            with gevent.Timeout(self._timeout):
                response = self._client.post(self._path, content, headers)
                body = bytes(response.read())
        except (gevent.Timeout, TimeoutError):  # ours, or the socket's
            self._drop()
            return failed(begun, "timeout", f"no answer within {self._timeout:g} s")
        except ConnectionRefusedError:
            self._drop()
            return failed(begun, "connection refused", "connection refused")
        except Exception as error:  # noqa: BLE001 - whatever the client library raises is told
            self._drop()
            return failed(begun, "connection lost", f"{type(error).__name__}: {error}")
        ended = perf_counter()
        status = response.status_code
        if status != _OK:
            return Answer(begun, ended - begun, f"HTTP {status}", _reason(body))
        lower = {name.lower(): value for name, value in response.headers}
        return judged(
            begun,
            ended - begun,
            case=prepared.case,
            identity=identity,
            tolerance=tolerance,
            decode=lambda: oip_http.decode(lower, body),
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _reason(body: bytes) -> str:
    try:
        told: Any = msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
    return str(told)
