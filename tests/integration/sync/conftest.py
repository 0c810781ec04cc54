"""What the tests of the registry sync share: a real MLflow, and a gateway that serves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.gateway import free_port
from benchmarks.harness.registered import Registered
from service.registry.gateway_client import GatewayClient
from service.registry.mlflow import MlflowRegistry
from service.registry.state import StateFolder
from service.registry.sync import Sync
from service.repository.routes import folder_of
from service.settings import RegistrySettings, Repository
from tests.serving import Serving, serving, settings
from tests.syncing import Bench, Benches, Faulty


@pytest.fixture
def benches(registry_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Benches]:
    """Makes what a test needs, and lets the connections go."""
    (tmp_path / "models").mkdir()
    nobody = f"http://127.0.0.1:{free_port()}"
    with ExitStack() as open_ones:

        def make(
            name: str, served: Serving | None = None, url: str = nobody, **chosen: Any
        ) -> Bench:
            network = Faulty()
            source, registered = MlflowRegistry(registry_url, {}, network), Registered(registry_url)
            gateway = GatewayClient(served.url if served else url, "")
            for one in (source, registered, gateway):
                open_ones.callback(one.close)
            if "select" not in chosen:
                chosen = {"select": "names", "names": name, **chosen}
                registered.model(name, serve=False)
            repository = tmp_path / "models"
            folder = StateFolder(folder_of(Repository(path=repository)))
            wanted = RegistrySettings.model_validate(chosen)
            sync = Sync(source, repository, folder, settings=wanted, gateway=gateway)
            properties = request.node.user_properties
            return Bench(name, registered, network, sync, folder, repository, served, properties)

        yield make


def _named(request: pytest.FixtureRequest) -> str:
    """A model's name that no other test has."""
    return "t-" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]


@pytest.fixture
def served(benches: Benches, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A gateway, ONNX Runtime in process, with an empty repository."""
    (tmp_path / "run").mkdir()
    with serving(settings(tmp_path / "models", "onnx"), tmp_path / "run") as started:
        yield benches(_named(request), started)


@pytest.fixture
def alone(benches: Benches, request: pytest.FixtureRequest) -> Bench:
    """The sync without a gateway that runs."""
    return benches(_named(request))
