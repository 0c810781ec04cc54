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
SYNC, ROLLBACK = "/lupine/v1/sync", "/lupine/v1/rollback"


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


def await_canary(running: Running, share: float | None) -> None:
    """Until the plain name has a canary of this share; None: no canary."""
    until = time.monotonic() + PATIENCE
    while True:
        canary = httpx.get(f"{running.url}{SYNC}").json()["models"][MODEL]["canary"]
        if (canary or {"share": None})["share"] == share:
            return
        assert time.monotonic() < until, canary
        time.sleep(0.05)


def test_an_administrator_has_the_registry_looked_at(
    running: Running, registered: Registered
) -> None:
    """No webhook tells of a tag, and the next poll is an hour away."""
    champion = registered.aliases(MODEL)["champion"]
    version = registered.version(MODEL, {"model.onnx": adding.model(9.0)})
    registered.alias(MODEL, "challenger", version)
    for tag, share in (("0.25", 0.25), ("0", None)):
        registered.tag(MODEL, version, "lupine.canary", tag)
        assert httpx.post(f"{running.url}{SYNC}").json()["looked_at"] < time.time()
        await_canary(running, share)
    assert httpx.get(f"{running.url}{SYNC}").json()["models"][MODEL]["routes"] == {
        "champion": champion,
        "challenger": version,
    }


def test_an_administrator_rolls_back_over_http(running: Running, registered: Registered) -> None:
    """To the version before, in the registry too; what cannot be is told, and changes nothing."""
    before = registered.aliases(MODEL)["champion"]
    version = publish(registered, 4.0)
    await_version(running, version)
    report = httpx.post(f"{running.url}{ROLLBACK}", json={"model": MODEL}, timeout=PATIENCE).json()
    assert report["wrong"] == []
    assert f"{MODEL}@champion: {version} → {before}" in report["done"]
    assert answers(running) == before
    assert registered.aliases(MODEL)["champion"] == before
    for asked, code, told in (
        ({"model": "nobody"}, 404, "'nobody' has no alias 'champion' here"),
        ({"model": MODEL, "alias": "challenger"}, 400, "has named no other"),
        ({"model": MODEL, "version": "1"}, 400, "'version' is unknown: model and alias are known"),
        ({"alias": "champion"}, 400, '"model": <name>'),
    ):
        refused = httpx.post(f"{running.url}{ROLLBACK}", json=asked)
        assert (refused.status_code, told in refused.json()["error"]) == (code, True), refused.text
    foreign = {"X-Forwarded-For": "10.0.0.9"}
    for path, method in ((SYNC, "GET"), (SYNC, "POST"), (ROLLBACK, "POST")):
        asked_from_afar = httpx.request(method, f"{running.url}{path}", headers=foreign)
        assert asked_from_afar.status_code == 403
    assert answers(running) == before


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
