"""Gateways over each engine on one repository, and a client for each wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.protocol import repository as models
from tests.protocol.clients import CLIENTS, Client
from tests.serving import Serving, serving, settings
from tests.triton_server import running_triton

ENGINES = ["echo", "onnx", pytest.param("triton", marks=pytest.mark.triton)]

GatewayOf = Callable[[str], Serving]


# tritonclient.http.aio does not read bodies that it has no use for, and so leaves their
# connections to the collector.
_LEFT_OPEN = pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bear with tritonclient where it is used."""
    for item in items:
        if "client" in getattr(item, "fixturenames", ()):
            item.add_marker(_LEFT_OPEN)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model repository that all engines serve."""
    return models.build(tmp_path_factory.mktemp("repository") / "models")


@pytest.fixture(scope="session")
def gateway_of(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayOf]:
    """The gateway over an engine, started when it is first asked for."""
    started: dict[str, Serving] = {}
    with ExitStack() as stack:

        def start(engine: str) -> Serving:
            sections: dict[str, object] = {}
            if engine == "triton":
                scratch = tmp_path_factory.mktemp("triton")
                server = running_triton(repository, scratch=scratch / "server", load_models=["*"])
                sections["triton"] = {"url": stack.enter_context(server).grpc}
            chosen = settings(repository, engine, **sections)
            return stack.enter_context(serving(chosen, tmp_path_factory.mktemp(engine)))

        def gateway_of(engine: str) -> Serving:
            if engine not in started:
                started[engine] = start(engine)
            return started[engine]

        yield gateway_of


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The engine's word; a test may name fewer of them by parametrizing it."""
    return str(request.param)


@pytest.fixture
def gateway(engine: str, gateway_of: GatewayOf) -> Serving:
    """A gateway that answers."""
    return gateway_of(engine)


@pytest.fixture(params=CLIENTS, ids=lambda kind: kind.__name__.lower())
def client(request: pytest.FixtureRequest, gateway: Serving) -> Iterator[Client]:
    """A client of the gateway, one for each library."""
    connected: Client = request.param(
        gateway.address if request.param.wire == "http" else gateway.grpc_address
    )
    yield connected
    connected.close()


@pytest.fixture
def http(gateway: Serving) -> Iterator[httpx.Client]:
    """Plain HTTP, for what tritonclient cannot say or does not show."""
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as plain:
        yield plain
