"""A real MLflow, and a gateway that syncs from it by itself, for as long as a block lasts."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.harness.gateway import LUPINE, Running, free_port, gateway
from benchmarks.harness.registered import Registered
from benchmarks.harness.registry import registry

FOLLOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Synced:
    """Both of them."""

    registered: Registered
    running: Running
    repository: Path
    environment: Mapping[str, str]

    def sync(self, *words: str) -> str:
        """Run `lupine sync`, in between what the gateway's own does; gives what it says.

        Raises:
            RuntimeError: it did not end well.
        """
        done = subprocess.run(
            [LUPINE, "sync", *words, "--repository", str(self.repository)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | self.environment,
        )
        if done.returncode:
            raise RuntimeError(f"lupine sync {words}: {done.stdout}{done.stderr}")
        return done.stdout

    def await_served(self, name: str, version: str) -> None:
        """Wait until a version of a model of `adding` answers for a name.

        Raises:
            RuntimeError: it does not in time.
        """
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0.0]}
        url = f"{self.running.url}/v2/models/{name}/infer"
        deadline = time.monotonic() + FOLLOW_SECONDS
        while time.monotonic() < deadline:
            asked = httpx.post(url, json={"inputs": [tensor]}, timeout=10, trust_env=False)
            if asked.is_success and asked.json()["model_version"] == version:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{name} is not version {version} within {FOLLOW_SECONDS:g} s")

    def metric(self, name: str, **labels: str) -> float:
        """A sample of the gateway's metrics; 0 where there is none."""
        text = httpx.get(f"{self.running.url}/metrics", trust_env=False).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@contextmanager
def synced(poll_seconds: float, *, webhook: bool = False) -> Iterator[Synced]:
    """Start both, with Triton, two workers and nothing to serve.

    Args:
        poll_seconds: between two looks at the registry.
        webhook: whether MLflow tells the gateway of each alias.
    """
    with tempfile.TemporaryDirectory(prefix="lupine-synced-") as scratch:
        folder = Path(scratch)
        repository = folder / "models"
        repository.mkdir()
        with registry(folder) as url:
            registered = Registered(url)
            port, shared = free_port(), os.urandom(16).hex()
            environment = {
                "MLFLOW_TRACKING_URI": url,
                "LUPINE_SERVER__PORT": str(port),
                "LUPINE_REGISTRY__POLL_SECONDS": str(poll_seconds),
                "LUPINE_REGISTRY__WEBHOOK_SECRET": shared,
            }
            if webhook:
                registered.webhook(f"http://127.0.0.1:{port}", shared)
            flags = ("--repository", str(repository), "--engine", "triton", "--workers", "2")
            with gateway(*flags, port=port, environment=environment) as running:
                yield Synced(registered, running, repository, environment)
            registered.close()
