from __future__ import annotations

from pathlib import Path

import httpx

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
