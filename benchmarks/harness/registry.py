"""A real MLflow server with aliases and artifacts, on a free port, for as long as a block lasts."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.harness.gateway import free_port
from benchmarks.harness.processes import stop

_START_SECONDS = 180.0  # the first start makes its database's tables, and imports a great deal
_STOP_SECONDS = 20.0
_QUIET = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # Its webhooks go to a gateway on loopback, without TLS.
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_CACHE_TTL": "1",  # seconds until a new webhook is known
}
_KEY_BYTES = 32


@contextmanager
def registry(
    folder: Path,
    *flags: str,
    environment: Mapping[str, str] | None = None,
    certificate: Path | None = None,
) -> Iterator[str]:
    """Run `mlflow server` on loopback with all its data in `folder`; gives its URL.

    Args:
        folder: empty.
        flags: more of them.
        environment: more of it.
        certificate: that it shows, where the flags give it one.

    Raises:
        RuntimeError: it ended, or did not answer in time; the end of its log is in the text.
    """
    port = free_port()
    log = folder / "mlflow.log"
    key = base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)).decode()
    told = {**os.environ, **_QUIET, "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": key}
    told |= environment or {}
    command = [
        str(Path(sys.executable).with_name("mlflow")),
        "server",
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts")),
        *flags,
    ]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=told,
        )
    try:
        url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        _await(process, url, log, trust(certificate))
        yield url
    finally:
        stop(process, _STOP_SECONDS)


def trust(certificate: Path | None) -> ssl.SSLContext:
    """For a client of a registry with this certificate, or without any."""
    return ssl.create_default_context(cafile=certificate)


def _await(process: subprocess.Popen[bytes], url: str, log: Path, trusted: ssl.SSLContext) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < _START_SECONDS and process.poll() is None:
        try:
            if (
                httpx.get(f"{url}/health", timeout=2.0, trust_env=False, verify=trusted).status_code
                == httpx.codes.OK
            ):
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    tail = log.read_text(errors="replace")[-3000:]
    raise RuntimeError(f"MLflow did not get ready (exit {process.poll()}):\n{tail}")
