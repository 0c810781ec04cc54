"""The supervisor's control sockets."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.runner import supervision


@pytest.mark.parametrize(("name", "named"), [("short", True), ("ü" * 35, False)])
def test_a_control_socket_has_an_address_that_fits(name: str, *, named: bool) -> None:
    """The kernel has room for 108 bytes, and a letter may take several."""
    with tempfile.TemporaryDirectory(dir="/tmp", suffix=name) as folder:
        controller = SimpleNamespace(arbiter=SimpleNamespace())
        supervision._make_private(controller, Path(folder))
        assert controller.endpoint.startswith(f"ipc://{folder}/") is named
        assert len(controller.arbiter.pubsub_endpoint.encode()) < 108
