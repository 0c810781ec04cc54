"""The `lupine` command as people and scripts type it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from benchmarks.harness.gateway import LUPINE, Running, free_port, gateway
from tests.protocol import repository as models
from tests.requires import require_triton_runtime

KEY = "a key that nobody guesses"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.build(tmp_path_factory.mktemp("repository") / "models")


@pytest.fixture(scope="module")
def started(repository: Path) -> Iterator[Running]:
    """A gateway of two workers whose admin verbs need a key."""
    flags = ("--engine", "onnx", "--workers", "2", "--repository", str(repository))
    with gateway(*flags, environment={"LUPINE_ADMIN_KEY": KEY}) as running:
        yield running


def lupine(
    *words: str, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, with no setting but those that are given."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("LUPINE_")}
    return subprocess.run(
        [LUPINE, *words],
        cwd=folder,
        env=bare | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(*words: str, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What the command says on stderr when it must not succeed: one line."""
    done = lupine(*words, folder=folder, environment=environment)
    assert done.returncode == 1, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("lupine: ")
    return line


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_help_comes_at_once(tmp_path: Path) -> None:
    """Within half a second on a quiet machine; this one may be busy."""
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        assert lupine("--help", folder=tmp_path).returncode == 0
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 1.5


def free_ports() -> tuple[str, ...]:
    """Flags for ports that nobody has."""
    return "--port", str(free_port()), "--grpc-port", str(free_port())


def test_a_start_that_is_refused_late_leaves_no_folder(tmp_path: Path, repository: Path) -> None:
    """What BentoML is to read is the last thing to be looked at."""
    (tmp_path / "tmp").mkdir()
    line = refusal(
        *("serve", "--engine", "onnx", *free_ports(), "--repository", str(repository)),
        folder=tmp_path,
        environment={"BENTOML_CONFIG_OVERRIDES": "[", "TMPDIR": str(tmp_path / "tmp")},
    )
    assert "BENTOML_CONFIG_OVERRIDES" in line
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("flag", ["--port", "--grpc-port"])
def test_a_taken_port_is_named_with_its_holder(tmp_path: Path, repository: Path, flag: str) -> None:
    """Before anything is started."""
    with listening() as port:
        line = refusal(
            *("serve", "--engine", "onnx", *free_ports(), flag, str(port)),
            *("--repository", str(repository)),
            folder=tmp_path,
        )
    assert f"port {port} on 127.0.0.1 is taken" in line
    assert f"process {os.getpid()}" in line
    assert f"choose another {flag}" in line


def test_one_port_for_both_wires_is_refused(tmp_path: Path, repository: Path) -> None:
    """Naming both flags."""
    port = str(free_port())
    flags = ("--port", port, "--grpc-port", port, "--repository", str(repository))
    line = refusal("serve", "--engine", "onnx", *flags, folder=tmp_path)
    assert f"cannot share port {port}" in line
    assert "--port" in line
    assert "--grpc-port" in line


def test_a_missing_repository_is_named(tmp_path: Path) -> None:
    """And what one looks like."""
    line = refusal("serve", "--engine", "onnx", *free_ports(), folder=tmp_path)
    assert "'triton_repo' is no folder" in line
    assert "--repository" in line


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    """In the environment and in the file alike."""
    line = refusal("serve", folder=tmp_path, environment={"LUPINE_SERVER__PROT": "1"})
    assert "LUPINE_SERVER__PROT" in line
    (tmp_path / "lupine.toml").write_text("[server]\nprot = 1\n")
    assert "server.prot" in refusal("serve", folder=tmp_path)


def test_a_triton_that_was_not_built_is_named(tmp_path: Path, repository: Path) -> None:
    """With what builds it, or serves without it."""
    line = refusal(
        *("serve", "--engine", "triton", *free_ports()),
        *("--repository", str(repository)),
        folder=tmp_path,
        environment={"LUPINE_TRITON__RUNTIME": str(tmp_path)},
    )
    assert "there is no managed Triton" in line


def test_a_triton_elsewhere_that_is_away_is_named(tmp_path: Path) -> None:
    """It needs no repository here."""
    url = f"127.0.0.1:{free_port()}"
    line = refusal("serve", *free_ports(), "--triton-url", url, folder=tmp_path)
    assert f"no Triton answers gRPC at {url}" in line


def test_flags_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """Rather than one of them ignored."""
    line = refusal("serve", "--engine", "onnx", "--triton-url", "a:1", folder=tmp_path)
    assert "--triton-url contradicts --engine onnx" in line


def test_serve_leaves_no_process_and_no_folder(tmp_path: Path, repository: Path) -> None:
    """Its private folder was for it alone, and is gone after SIGTERM."""
    (tmp_path / "tmp").mkdir()
    flags = ("--engine", "onnx", "--workers", "2", "--repository", str(repository))
    with gateway(*flags, environment={"TMPDIR": str(tmp_path / "tmp")}) as running:
        family = running.family()
        (folder,) = (tmp_path / "tmp").glob("lupine-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert "BentoServer" not in running.log.read_text()
        running.supervisor.send_signal(signal.SIGTERM)
        gone, alive = psutil.wait_procs(family, timeout=30)
    assert (len(gone), alive) == (len(family), [])
    assert list((tmp_path / "tmp").glob("lupine-*")) == []


def test_serve_says_that_it_is_ready_once(started: Running) -> None:
    """However many workers there are."""
    lines = started.log.read_text().splitlines()
    ready = f"lupine: ready at {started.url} and grpc://{started.grpc_url} (onnx, 2 workers)"
    assert [line for line in lines if "ready" in line] == [ready]


def test_serve_takes_relative_paths_from_where_it_was_typed(
    tmp_path: Path, repository: Path
) -> None:
    """Though its workers run elsewhere; lupine.toml is read there too."""
    port, grpc_port = free_port(), free_port()
    (tmp_path / "models").symlink_to(repository)
    (tmp_path / "lupine.toml").write_text(
        f'[server]\nport = {port}\ngrpc_port = {grpc_port}\nhost = "localhost"\n'
    )
    command = [LUPINE, "serve", "--engine", "onnx", "--repository", "models"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = [process.stderr.readline() for _ in range(2)]
        finally:
            process.send_signal(signal.SIGTERM)
    at = f"http://127.0.0.1:{port} and grpc://127.0.0.1:{grpc_port}"
    assert said[1] == f"lupine: ready at {at} (onnx, 1 workers)\n"


def models_of(running: Running, *words: str, key: str = KEY) -> Any:
    """What `lupine models … --json` prints."""
    done = lupine(
        *("models", *words, "--url", running.url, "--json"),
        folder=Path("/"),
        environment={"LUPINE_ADMIN_KEY": key},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_models_are_listed_with_versions_and_states(started: Running) -> None:
    """`lupine models` alone lists, and `list` does."""
    found = {(m["name"], m["version"]): m for m in models_of(started)}
    assert found["versioned", "1"]["state"] == found["versioned", "2"]["state"] == "READY"
    assert found["rows", "1"]["reason"] == ""
    assert models_of(started, "list") == models_of(started)


def test_the_size_on_disk_is_told_where_the_repository_is_here(
    started: Running, repository: Path
) -> None:
    """And marked as that: the engine does not tell what it takes in memory."""
    environment = {"LUPINE_REPOSITORY__PATH": str(repository)}
    words = ("models", "--url", started.url)
    table = lupine(*words, folder=Path("/"), environment=environment).stdout
    (row,) = [line for line in table.splitlines() if line.startswith("rows ")]
    assert row.split()[:3] == ["rows", "1", "READY"]
    assert row.rstrip().endswith("B on disk")
    found = lupine(*words, "--json", folder=Path("/"), environment=environment).stdout
    (rows,) = [m for m in json.loads(found) if m["name"] == "rows"]
    assert rows["disk_bytes"] == (repository / "rows" / "1" / "model.onnx").stat().st_size
    assert rows["memory_bytes"] is None


def test_a_model_is_unloaded_and_loaded(started: Running) -> None:
    """Each prints what became of it."""
    (gone,) = models_of(started, "unload", "guest")
    assert (gone["state"], gone["reason"]) == ("UNAVAILABLE", "unloaded")
    (back,) = models_of(started, "load", "guest")
    assert (back["version"], back["state"]) == ("1", "READY")


def test_loading_without_the_key_is_refused(started: Running) -> None:
    """And the variable named."""
    line = refusal("models", "load", "rows", "--url", started.url, folder=Path("/"))
    assert "LUPINE_ADMIN_KEY" in line
    wrong = {"LUPINE_ADMIN_KEY": "wrong"}
    line = refusal(
        "models", "unload", "rows", "--url", started.url, folder=Path("/"), environment=wrong
    )
    assert "not the gateway's admin key" in line


@pytest.mark.parametrize("name", ["nobody", "../rows", "a/b", "ünï"])
def test_an_unknown_model_is_named(started: Running, name: str) -> None:
    """With the words of the gateway, whatever the name holds."""
    environment = {"LUPINE_ADMIN_KEY": KEY}
    line = refusal(
        *("models", "load", name, "--url", started.url), folder=Path("/"), environment=environment
    )
    assert "the repository has no model" in line
    assert name in line


def test_nobody_there_is_said_with_what_to_do() -> None:
    """The usual case: the gateway was not started."""
    line = refusal("models", "--url", f"http://127.0.0.1:{free_port()}", folder=Path("/"))
    assert "Connection refused" in line
    assert "lupine serve" in line


@pytest.mark.parametrize("url", ["localhost:3000", "ftp://x", "http://", ""])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    """With one that is."""
    line = refusal("models", "list", "--url", url, folder=Path("/"))
    assert "http://127.0.0.1:3000" in line


def test_doctor_finds_a_running_gateway_and_a_sound_repository(
    started: Running, repository: Path
) -> None:
    """A port that our own gateway holds is nothing wrong."""
    environment = {
        "LUPINE_SERVER__PORT": str(started.port),
        "LUPINE_REPOSITORY__PATH": str(repository),
        "LUPINE_ENGINE__KIND": "onnx",
    }
    done = lupine("doctor", "--json", folder=Path("/"), environment=environment)
    found = json.loads(done.stdout)
    checks = {check["topic"]: check for check in found["checks"]}
    assert (done.returncode, found["ok"]) == (0, True)
    assert checks[f"port {started.port}"]["found"] == "a Lupine gateway answers on it"
    assert checks["engine"]["found"].startswith("onnx")
    assert checks["model rows"]["state"] == "ok"


def test_doctor_exits_with_1_when_something_stops_serving(tmp_path: Path) -> None:
    """And goes on looking after what is wrong."""
    with listening() as port:
        environment = {"LUPINE_SERVER__PORT": str(port), "LUPINE_ENGINE__KIND": "onnx"}
        done = lupine("doctor", folder=tmp_path, environment=environment)
    assert done.returncode == 1
    wrong = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("wrong")]
    assert wrong == ["port", "repository"]


def test_doctor_looks_on_when_the_settings_are_invalid(tmp_path: Path) -> None:
    """They are one finding of many."""
    done = lupine("doctor", "--json", folder=tmp_path, environment={"LUPINE_NO__SUCH": "1"})
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert found["checks"][0]["topic"] == "settings"
    assert "LUPINE_NO__SUCH" in found["checks"][0]["found"]
    assert len(found["checks"]) > 10


def test_doctor_looks_for_a_triton_elsewhere(tmp_path: Path) -> None:
    """Then it needs neither runtime nor repository here."""
    with listening() as port:
        environment = {"LUPINE_TRITON__URL": f"127.0.0.1:{port},127.0.0.1:{free_port()}"}
        done = lupine("doctor", "--json", folder=tmp_path, environment=environment)
    found = [c for c in json.loads(done.stdout)["checks"] if c["topic"].startswith("Triton at")]
    assert [check["state"] for check in found] == ["ok", "wrong"]
    assert "repository" not in {c["topic"] for c in json.loads(done.stdout)["checks"]}


@pytest.mark.triton
def test_triton_alone_runs_in_the_foreground(tmp_path: Path, repository: Path) -> None:
    """On the ports that were asked for, loopback alone, until SIGTERM; `lupine models` reads it."""
    require_triton_runtime()
    http, grpc, metrics = free_port(), free_port(), free_port()
    words = ["triton", "--repository", str(repository)]
    words += ["--http-port", str(http), "--grpc-port", str(grpc), "--metrics-port", str(metrics)]
    url = f"http://127.0.0.1:{http}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([LUPINE, *words], cwd=tmp_path, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 90
        while not _ready(url):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        found = json.loads(lupine("models", "--url", url, "--json", folder=tmp_path).stdout)
        states = {m["name"]: m["state"] for m in found}
        assert states["rows"] == "READY"
        assert "is taken by tritonserver" in refusal(*words, folder=tmp_path)
        family = psutil.Process(process.pid).children(recursive=True)
        listeners = {
            (c.laddr.ip.removeprefix("::ffff:"), c.laddr.port)  # as gRPC writes IPv4
            for p in family
            for c in p.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN
        }
        assert listeners == {("127.0.0.1", port) for port in (http, grpc, metrics)}
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert psutil.wait_procs(family, timeout=5)[1] == []


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v2/health/ready", timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def test_triton_alone_refuses_a_missing_repository(tmp_path: Path) -> None:
    """As `serve` does."""
    assert "'nowhere' is no folder" in refusal("triton", "--repository", "nowhere", folder=tmp_path)


def test_triton_alone_refuses_one_port_for_two(tmp_path: Path) -> None:
    """Triton's own word for it would be harder to read."""
    line = refusal("triton", "--http-port", "8001", folder=tmp_path)
    assert "must differ" in line
