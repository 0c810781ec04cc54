"""Who notices a death, and what is left: the processes of a real gateway, killed one by one."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import psutil
import pytest

from benchmarks.harness.gateway import Running, gateway
from tests.lives import lives
from tests.requires import require_triton_runtime

pytestmark = pytest.mark.triton
_ZEROS = {
    "inputs": [
        {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.0] * 64},
    ]
}


def infer(running: Running) -> httpx.Response:
    """One request for `digits`."""
    return httpx.post(f"{running.url}/v2/models/digits/infer", json=_ZEROS, timeout=20)


def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Wait for a condition; fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def answers(running: Running) -> bool:
    """Whether an inference succeeds now."""
    try:
        return infer(running).status_code == 200
    except httpx.TransportError:
        return False


def ended(processes: list[psutil.Process]) -> bool:
    """Whether all of them are gone, zombies of somebody else's aside."""
    return not any(map(lives, processes))


def test_each_process_may_be_killed_and_nothing_is_left() -> None:
    """Triton and guardian come back, a worker is replaced, and without a supervisor all end."""
    require_triton_runtime()
    with gateway("--engine", "triton", "--workers", "2") as running:
        assert infer(running).status_code == 200

        triton = running.tritonserver()
        assert triton is not None
        triton.kill()
        refusal = infer(running)
        while refusal.status_code == 200:  # the kill has not been noticed yet
            refusal = infer(running)
        assert refusal.status_code == 503
        assert int(refusal.headers["retry-after"]) >= 1
        assert "Triton" in refusal.json()["error"]
        until(lambda: answers(running))

        guardian, triton = running.guardian(), running.tritonserver()
        assert guardian is not None
        assert triton is not None
        guardian.kill()
        until(lambda: ended([guardian, triton]))
        until(lambda: answers(running))
        assert running.guardian() not in (None, guardian)

        worker = running.workers()[0]
        worker.kill()
        until(lambda: len(running.workers()) == 2 and worker not in running.workers())
        until(lambda: answers(running))

        family = running.family()
        running.supervisor.kill()
        running.supervisor.wait()
        until(lambda: ended(family))
        with pytest.raises(httpx.TransportError):
            infer(running)


def test_sigterm_ends_everything_with_status_zero() -> None:
    """A stop leaves no process and no error behind."""
    require_triton_runtime()
    with gateway("--engine", "triton", "--workers", "2") as running:
        family = running.family()
        running.supervisor.terminate()
        until(lambda: ended(family))


def test_one_metrics_page_adds_up_all_workers(running: Running) -> None:
    """However the requests spread over the workers, /metrics counts every one, and Triton's own."""
    name = "lupine_request_duration_seconds_count"
    wanted = 'model="digits",protocol="http",version="1"'

    def count() -> float:
        page = httpx.get(f"{running.url}/metrics").text
        assert "nv_inference_count" in page
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in page.splitlines()
            if line.startswith(name) and wanted in line
        )

    before = count()
    for _ in range(40):  # each over a connection of its own, so that both workers get some
        assert infer(running).status_code == 200
    assert count() == before + 40
