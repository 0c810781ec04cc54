"""`lupine serve` with MLFLOW_TRACKING_URI set: it syncs by itself, and MLflow's webhook rings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks.harness import adding
from benchmarks.harness.gateway import Running, free_port, gateway
from benchmarks.harness.registered import Registered

MODEL = "beside"
SHARED = "between the two"
PATIENCE = 60.0  # seconds
HOOK = "/lupine/v1/webhooks/mlflow"


@pytest.fixture(scope="module")
def registered(registry_url: str) -> Iterator[Registered]:
    """A registry with version 1 as the champion."""
    found = Registered(registry_url)
    found.model(MODEL, serve=False)
    publish(found, 1.0)
    yield found
    found.close()


@pytest.fixture(scope="module")
def running(registered: Registered, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway that polls once an hour, and that the registry's webhook knows."""
    repository = tmp_path_factory.mktemp("beside") / "models"
    repository.mkdir()
    environment = syncing(registered) | {
        "LUPINE_REGISTRY__POLL_SECONDS": "3600",
        "LUPINE_REGISTRY__WEBHOOK_SECRET": SHARED,
    }
    flags = ("--engine", "onnx", "--workers", "2", "--repository", str(repository))
    port = free_port()
    registered.webhook(f"http://127.0.0.1:{port}", SHARED)
    with gateway(*flags, port=port, environment=environment) as started:
        yield started


def syncing(registered: Registered) -> dict[str, str]:
    """What has a gateway sync the model of these tests."""
    return {
        "MLFLOW_TRACKING_URI": registered.url,
        "LUPINE_REGISTRY__SELECT": "names",
        "LUPINE_REGISTRY__NAMES": MODEL,
    }


def publish(registered: Registered, amount: float) -> str:
    """A version that adds an amount becomes the champion."""
    version = registered.version(MODEL, {"model.onnx": adding.model(amount)})
    registered.alias(MODEL, "champion", version)
    return version


def answers(running: Running) -> str:
    """The version that answers, or nothing."""
    x = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0.0]}
    asked = httpx.post(f"{running.url}/v2/models/{MODEL}/infer", json={"inputs": [x]})
    return str(asked.json().get("model_version", ""))


def await_version(running: Running, version: str) -> None:
    """Until a version answers."""
    until = time.monotonic() + PATIENCE
    while answers(running) != version:
        assert time.monotonic() < until, running.log.read_text()[-3000:]
        time.sleep(0.05)


def syncs(running: Running) -> list[psutil.Process]:
    """The processes that sync beside a gateway."""
    return [one for one in running.family() if "watch" in one.cmdline()]


def test_what_the_registry_names_is_served_without_a_command(running: Running) -> None:
    """The first look is taken at the start."""
    await_version(running, "1")


def test_the_webhook_rings_and_the_traffic_follows(
    running: Running, registered: Registered
) -> None:
    """Long before the next poll; the metrics tell of both."""
    await_version(running, "1")
    await_version(running, publish(registered, 2.0))
    metrics = httpx.get(f"{running.url}/metrics").text
    assert 'lupine_sync_webhooks_total{heard="true"}' in metrics
    assert "lupine_sync_flips_total 2.0" in metrics


def test_an_unsigned_delivery_is_refused_and_counted(running: Running) -> None:
    """On the wire as anywhere else."""
    answer = httpx.post(f"{running.url}{HOOK}", content=b"{}")
    assert answer.status_code == 401
    assert "x-mlflow-signature" in answer.json()["error"]
    metrics = httpx.get(f"{running.url}/metrics").text
    assert 'lupine_sync_webhooks_total{heard="false"}' in metrics


def test_a_sync_that_is_killed_is_started_again(running: Running, registered: Registered) -> None:
    """The gateway serves meanwhile, and the alias that moved meanwhile is followed."""
    await_version(running, registered.aliases(MODEL)["champion"])
    (killed,) = syncs(running)
    killed.kill()
    await_version(running, publish(registered, 3.0))
    (other,) = syncs(running)
    assert other.pid != killed.pid


def test_a_sync_ends_with_its_gateway(registered: Registered, tmp_path: Path) -> None:
    """Even where its supervisor is killed and nobody can tell it."""
    repository = tmp_path / "models"
    repository.mkdir()
    flags = ("--engine", "onnx", "--workers", "1", "--repository", str(repository))
    with gateway(*flags, environment=syncing(registered)) as started:
        await_version(started, registered.aliases(MODEL)["champion"])
        (sync,) = syncs(started)
        started.supervisor.kill()
        sync.wait(PATIENCE)
