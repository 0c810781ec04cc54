from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving import serving, settings
from tests.unit.frontends.test_http_protocol import CONFIG, message


def test_a_request_shed_for_want_of_memory_is_told_and_counted(tmp_path: Path) -> None:
    """429 with a time to retry, under the model's name; an unknown one has none."""
    repository, run_dir = tmp_path / "repository", tmp_path / "run"
    (repository / "m" / "1").mkdir(parents=True)
    (repository / "m" / "config.pbtxt").write_text(CONFIG)
    run_dir.mkdir()
    chosen = settings(repository, server={"max_buffered_bytes": 10})
    with serving(chosen, run_dir) as gateway, httpx.Client(base_url=gateway.url) as client:
        for model in ("m", "nobody"):
            answer = client.post(f"/v2/models/{model}/infer", content=message([1.0]))
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
            assert "at most 10" in answer.json()["error"]
        shown = gateway.gateway.telemetry.exposition().decode()
        assert 'lupine_shed_total{model="m",reason="memory"} 1.0' in shown
        assert 'lupine_shed_total{model="",reason="memory"} 1.0' in shown


@pytest.mark.parametrize(("body", "code"), [(message([1.0]), 200), (b"{", 400)])
def test_an_answer_is_counted_before_it_leaves(tmp_path: Path, body: bytes, code: int) -> None:
    """A worker killed right after it has answered loses no count that a client could miss."""
    (tmp_path / "repository" / "m" / "1").mkdir(parents=True)
    (tmp_path / "repository" / "m" / "config.pbtxt").write_text(CONFIG)
    (tmp_path / "run").mkdir()
    with serving(settings(tmp_path / "repository"), tmp_path / "run") as gateway:
        telemetry = gateway.gateway.telemetry
        seen: list[bool] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(sent: Any) -> None:
            if sent["type"] == "http.response.start":
                assert sent["status"] == code
                shown = telemetry.exposition().decode().splitlines()
                count = "lupine_request_duration_seconds_count{"
                seen.extend(f'code="{code}"' in at for at in shown if at.startswith(count))

        path = b"/v2/models/m/infer"
        scope = {"type": "http", "method": "POST", "raw_path": path, "headers": []}
        gateway.call(gateway.gateway.http(scope, receive, send))
        assert seen == [True]
