"""The drain of a worker whose parts are not what they should be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.frontends.handover import Handover
from service.lifecycle import Drain
from service.settings import Settings


class Connection:
    """One that nobody can wind down."""


async def test_a_drain_that_fails_is_seen_and_the_worker_exits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a word an operator would think that everything was answered."""
    server: Any = SimpleNamespace(
        started=True,
        should_exit=False,
        servers=[],
        server_state=SimpleNamespace(connections={Connection()}, tasks=set()),
    )
    parts: Any = SimpleNamespace(
        dataplane=SimpleNamespace(drain=lambda: None),
        handover=Handover(tmp_path, 1),
        settings=Settings.model_validate({"server": {"lame_duck_seconds": 0}}),
        grpc=SimpleNamespace(stop=no_grpc, close_door=no_door),
    )
    with pytest.raises(AttributeError):  # the loop logs it
        Drain(server, parts, tmp_path).begin()
    async with asyncio.timeout(5):
        while not server.should_exit:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0.01)
    said = capsys.readouterr().err
    assert "fails to drain" in said
    assert "close_if_idle" in said
    assert "drained in" not in said


async def no_door() -> None:
    """No gRPC server takes connections."""


async def no_grpc(_grace: float) -> int:
    """Nothing was in flight."""
    return 0
