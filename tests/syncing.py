"""A sync from a real MLflow whose network a test can break, and the gateway that it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness import adding
from benchmarks.harness.registered import Registered
from service.registry.state import StateFolder
from service.registry.sync import Sync
from tests.serving import Serving


def away(request: httpx.Request) -> httpx.Response:
    """A registry that is down."""
    raise httpx.ConnectError("connection refused", request=request)


class Faulty(httpx.HTTPTransport):
    """The network, until a test breaks it: takes a request to an answer, or to None."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
        self.asked: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer by the fault, or ask the registry."""
        self.asked.append(request.url.path)
        return self.fault(request) or super().handle_request(request)


@dataclass
class Bench:
    """A registry, a sync, and the gateway that it is for."""

    name: str
    registered: Registered
    network: Faulty
    sync: Sync
    folder: StateFolder
    repository: Path
    served: Serving | None
    properties: list[tuple[str, object]]  # of the test

    def complaint(self) -> str:
        """What a sync says that is wrong; evidence-sync-faults shows it beside the test."""
        said = self.sync.once().wrong[0]
        self.properties.append(("told", said))
        return said

    def publish(self, amount: float, alias: str = "champion", **more: Any) -> str:
        """Register a version that adds an amount, and point an alias at it."""
        content = more.pop("content", None) or adding.model(amount)
        files = more.pop("files", None) or {"model.onnx": content}
        version = self.registered.version(self.name, files, more.pop("tags", None))
        self.registered.alias(self.name, alias, version)
        return version

    def await_shadow(self, outcome: str) -> None:
        """Ask until a copy has this outcome; every answer is the champion's, which is version 1."""
        assert self.served is not None
        sample = f'lupine_shadow_total{{model="{self.name}",outcome="{outcome}"}}'
        for _ in range(500):
            assert self.infer() == (1.0, "1")
            if sample in self.served.gateway.telemetry.exposition().decode():
                return
        raise AssertionError(sample)

    def infer(
        self, model: str = "", headers: dict[str, str] | None = None, **more: str
    ) -> tuple[float, str]:
        """What the gateway adds to 0, and the version that did."""
        assert self.served is not None
        x = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0]}
        answer = httpx.post(
            f"{self.served.url}/v2/models/{model or self.name}/infer",
            json={"inputs": [x], **more},
            headers=headers,
        )
        found = answer.raise_for_status().json()
        return found["outputs"][0]["data"][0], found["model_version"]

    def versions(self) -> list[str]:
        """What is in the repository."""
        return sorted(p.name for p in (self.repository / self.name).iterdir() if p.is_dir())


Benches = Callable[..., Bench]
