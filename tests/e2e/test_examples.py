"""What `examples/` shows, run as its readers run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from benchmarks.harness.gateway import Running, free_port, gateway

EXAMPLES = Path(__file__).parents[2] / "examples"
ADDRESSES: dict[str, Callable[[int, int], list[str]]] = {
    "python_sync.py": lambda http, grpc: ["--http", _local(http), "--grpc", _local(grpc)],
    "python_async.py": lambda http, grpc: ["--http", _local(http), "--grpc", _local(grpc)],
    "python_streaming.py": lambda _, grpc: ["--grpc", _local(grpc)],
    "curl.sh": lambda http, _: [_local(http)],
    "reflection.py": lambda _, grpc: ["--grpc", _local(grpc)],
}
KEY = "a-key"


def _local(port: int) -> str:
    return f"127.0.0.1:{port}"


def example(
    name: str, http: int, grpc: int, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """An example that has ended."""
    program = ["bash"] if name.endswith(".sh") else [sys.executable]
    return subprocess.run(
        [*program, str(EXAMPLES / name), *ADDRESSES[name](http, grpc)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | dict(environment or {}),
    )


def said(name: str, running: Running) -> str:
    """What an example prints when all is well."""
    done = example(name, running.port, running.grpc_port)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def busy() -> Iterator[Running]:
    """A gateway that takes four requests at once, slowly, and has an admin key."""
    narrow = {
        "LUPINE_ENGINE__ECHO_LATENCY_MS": "500",
        "LUPINE_ADMISSION__TOTAL": "4",
        "LUPINE_ADMIN_KEY": KEY,
    }
    with gateway("--engine", "echo", "--workers", "1", environment=narrow) as started:
        yield started


def test_every_example_is_run_here_and_listed() -> None:
    """None is left to rot, and none is left to be found."""
    there = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    listed = re.findall(r"(?m)^\| \[(.+?)\]\((.+?)\) \|", (EXAMPLES / "README.md").read_text())
    assert there == set(ADDRESSES)
    assert listed == [(name, name) for name in ADDRESSES]


@pytest.mark.parametrize("name", ADDRESSES)
def test_an_example_fails_where_nobody_listens(name: str) -> None:
    """With a status that a script can see."""
    assert example(name, free_port(), free_port()).returncode not in (0, 2)  # 2: usage


@pytest.mark.triton
def test_both_wires_give_the_same_answers(running: Running) -> None:
    """Numbers and text."""
    assert said("python_sync.py", running).splitlines() == [
        f"{wire}: {answer}"
        for wire in ("http", "grpc")
        for answer in ("digits [1, 0]", "2.5 kg to Iceland go by air")
    ]


@pytest.mark.triton
def test_requests_at_once_are_answered_and_refusals_name_their_reason(running: Running) -> None:
    """An unknown model, and a deadline that nobody can hold."""
    lines = said("python_async.py", running).splitlines()
    assert [line for line in lines if "refused" not in line] == [
        "http: [1, 1, 1, 1, 1, 1, 1, 1]",
        "grpc: [1, 1, 1, 1, 1, 1, 1, 1]",
    ]
    assert "http: refused: 404 no model 'nobody' is known here" in lines
    assert "grpc: refused: StatusCode.NOT_FOUND no model 'nobody' is known here" in lines
    assert any(line.startswith("http: refused: 504 ") for line in lines)
    assert any(line.startswith("grpc: refused: StatusCode.DEADLINE_EXCEEDED ") for line in lines)


def test_who_was_refused_for_load_tries_again_and_is_answered(busy: Running) -> None:
    """Over both wires some were refused, and none was lost."""
    lines = said("python_async.py", busy).splitlines()
    assert "http: [0, 0, 0, 0, 0, 0, 0, 0]" in lines
    assert "grpc: [0, 0, 0, 0, 0, 0, 0, 0]" in lines
    metrics = httpx.get(f"{busy.url}/metrics").text
    for code, wire in (("429", "http"), ("RESOURCE_EXHAUSTED", "grpc")):
        assert f'count{{code="{code}",model="digits",protocol="{wire}"' in metrics


@pytest.mark.triton
def test_a_stream_answers_in_order_and_survives_a_failure(running: Running) -> None:
    """Until it is cancelled."""
    assert said("python_streaming.py", running).splitlines() == [
        "first: courier",
        "second: road",
        "astray: refused: no model 'nobody' is known here",
        "last: air",
        "cancelled: StatusCode.CANCELLED",
    ]


@pytest.mark.triton
def test_curl_gets_an_answer_to_everything(running: Running) -> None:
    """In the order in which the script asks."""
    parts = said("curl.sh", running).split("\n# ")[1:]
    answers = {part.split()[0]: part.partition("\n")[2] for part in parts}
    assert answers["ready"].strip() == "200"
    assert json.loads(answers["metadata"])["name"] == "parcel_router"
    routes = json.loads(answers["JSON"])
    assert (routes["id"], routes["outputs"][0]["data"]) == ("parcel-17", ["courier", "air"])
    (logits,) = json.loads(answers["binary:"])["outputs"]
    assert max(range(10), key=logits["data"].__getitem__) == 1
    assert json.loads(answers["a"])["label"] == "shell"
    assert answers["load:"].strip() == "200"
    assert 'model="digits",protocol="http"' in answers["metrics"]


@pytest.mark.parametrize(("key", "status", "told"), [(KEY, 0, "200"), ("another", 22, "401")])
def test_loading_needs_the_key_of_a_gateway_that_has_one(
    busy: Running, key: str, status: int, told: str
) -> None:
    """`curl.sh` bears it, and ends where it is refused."""
    done = example("curl.sh", busy.port, busy.grpc_port, {"LUPINE_ADMIN_KEY": key})
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout.partition("\n# load")[2].splitlines()[1].endswith(told)


@pytest.mark.triton
def test_reflection_is_enough_for_a_call_from_json(running: Running) -> None:
    """The services, the method, and the answer."""
    *told, answer = re.split(r"(?m)^(?=\{)", said("reflection.py", running))
    lines = "".join(told).splitlines()
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(lines)
    assert "ModelInfer(inference.ModelInferRequest) → inference.ModelInferResponse" in lines
    assert "  5: inputs" in lines
    assert json.loads(answer)["raw_output_contents"] == ["AwAAAGFpcg=="]  # 3, "air"
