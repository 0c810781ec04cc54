from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.harness.gateway import free_port
from service import settings as settings_module
from service.errors import ConfigurationError
from service.runner import entry
from service.settings import Settings


def settings(**sections: object) -> Settings:
    return Settings.model_validate({"engine": {"kind": "echo"}} | sections)


def test_every_process_reads_the_settings_that_the_command_had(tmp_path: Path) -> None:
    """Wherever it runs: the workers' folder, and a lupine.toml in it, change nothing."""
    chosen = settings(
        server={"port": 3210, "max_body_bytes": "1MiB", "keep_alive_seconds": 7.5},
        repository={"path": tmp_path},
        admin_key="secret",
    )
    start = entry.plan(chosen, tmp_path / "run", {})
    (tmp_path / "lupine.toml").write_text("[server]\nport = 9\ngrace_seconds = 9\n")
    found, _ = settings_module.load(start.environment, tmp_path)
    runtime = chosen.triton.model_copy(update={"runtime": chosen.triton.runtime.absolute()})
    assert found == chosen.model_copy(update={"run_dir": tmp_path / "run", "triton": runtime})


def test_paths_depend_on_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers run elsewhere than the command."""
    monkeypatch.chdir(tmp_path)
    start = entry.plan(settings(repository={"path": "models"}), Path("run"), {})
    assert start.environment["LUPINE_REPOSITORY__PATH"] == str(tmp_path / "models")
    assert start.environment["LUPINE_RUN_DIR"] == str(tmp_path / "run")
    assert start.environment["BENTOML_HOME"] == str(tmp_path / "run" / "bentoml")


def test_the_command_is_bentoml_serve_with_this_python(tmp_path: Path) -> None:
    """Address, port and grace are ours; nothing is reported to anybody."""
    chosen = settings(server={"host": "127.0.0.1", "port": 3210, "grace_seconds": 12})
    start = entry.plan(chosen, tmp_path, {"HOME": "/home/me"})
    words = " ".join(start.command)
    assert words.startswith(f"{sys.executable} -P -m bentoml serve service.bento:Gateway ")
    assert "--host 127.0.0.1 --port 3210" in words
    assert "--timeout-graceful-shutdown 12" in words
    assert start.environment["BENTOML_DO_NOT_TRACK"] == "True"
    assert start.environment["HOME"] == "/home/me"


def test_one_port_cannot_serve_both_wires(tmp_path: Path) -> None:
    """Found before anything starts, and said in the words of the flags."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "config.pbtxt").write_text("max_batch_size: 0\n")
    port = free_port()
    chosen = settings(server={"port": port, "grpc_port": port}, repository={"path": tmp_path})
    with pytest.raises(ConfigurationError, match=f"cannot share port {port}"):
        entry.check(chosen)


def test_workers_are_added_to_what_the_operator_overrides(tmp_path: Path) -> None:
    """BentoML reads one variable; ours must not throw theirs away."""
    given = {"BENTOML_CONFIG_OVERRIDES": '{"api_server": {"ssl": {"enabled": false}}}'}
    start = entry.plan(settings(server={"workers": 3}), tmp_path, given)
    overrides = json.loads(start.environment["BENTOML_CONFIG_OVERRIDES"])
    assert overrides["services"] == {"Gateway": {"workers": 3}}
    assert overrides["api_server"] == {"ssl": {"enabled": False}}


@pytest.mark.parametrize("given", ["{", "[]", '{"services": 3}'])
def test_overrides_that_are_no_object_are_refused(tmp_path: Path, given: str) -> None:
    """By the name of the variable."""
    with pytest.raises(ConfigurationError, match="BENTOML_CONFIG_OVERRIDES"):
        entry.plan(settings(), tmp_path, {"BENTOML_CONFIG_OVERRIDES": given})


def test_bentoml_is_quiet_unless_asked(tmp_path: Path) -> None:
    """Its own variables still make it talk."""
    assert "--quiet" in entry.plan(settings(), tmp_path, {}).command
    assert "--quiet" not in entry.plan(settings(), tmp_path, {"BENTOML_DEBUG": "true"}).command


@pytest.mark.parametrize(
    "url", ["http://host:8001", "host", "host:", ":8001", "a:1,", "a:1,b", "a b:1", "[::1]"]
)
def test_a_triton_url_must_name_host_and_port(url: str) -> None:
    """The refusal says what is expected."""
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        entry.check_engine(settings(engine={"kind": "triton"}, triton={"url": url}))


@pytest.mark.parametrize("url", ["host:8001", "10.0.0.1:1, b.c:2", "[::1]:8001", "a_b-c:9"])
def test_a_triton_url_may_name_several(url: str) -> None:
    """Separated by commas."""
    assert entry.check_engine(settings(engine={"kind": "auto"}, triton={"url": url}))[0] == "triton"


def test_without_a_runtime_asking_for_triton_is_refused(tmp_path: Path) -> None:
    """It says what builds one."""
    chosen = settings(
        engine={"kind": "triton"}, triton={"runtime": tmp_path}, repository={"path": tmp_path}
    )
    for check in (entry.check_engine, entry.check_managed):
        with pytest.raises(ConfigurationError, match="there is no managed Triton"):
            check(chosen)
