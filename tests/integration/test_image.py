"""The image: its Dockerfile is run, step by step, without an engine, and what comes out serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.harness.artefact import Served, serving_image, wrong_answers
from benchmarks.harness.gateway import ROOT
from benchmarks.harness.image import Build, Stage, instructions
from service import settings
from tests.lives import lives
from tests.requires import require_namespaces, require_triton_runtime

_ENGINE = {"LUPINE_ENGINE__KIND": "onnx"}


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Every RUN of the Dockerfile's stages is run here, once."""
    require_namespaces()
    return Build(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="session")
def remote(build: Build) -> Stage:
    """The gateway's image that brings no Triton."""
    return build.image(TRITON="remote")


def _ask(image: Stage, served: Served, command: list[str]) -> subprocess.CompletedProcess[str]:
    """As `docker exec` in a container of the image."""
    ports = {"LUPINE_SERVER__PORT": str(served.port)}
    inside = image.container(ports).command(command)
    return subprocess.run(inside, capture_output=True, text=True, check=False, timeout=60)


def test_the_image_without_triton_serves_read_only_as_nobody(remote: Stage) -> None:
    """With /tmp alone to write to, and no privileges: right answers, healthy, and a clean end."""
    with serving_image(remote, **_ENGINE) as served:
        process = psutil.Process(served.process.pid)
        assert process.uids().real in (10001, psutil.Process().uids().real)
        assert wrong_answers(served) == []
        assert _ask(remote, served, list(remote.health)).returncode == 0
        assert served.stop() == 0
        refused = _ask(remote, served, list(remote.health))
        assert refused.returncode != 0, "it is healthy though nothing serves"


def test_nothing_but_tmp_can_be_written_to(remote: Stage) -> None:
    """What the test above ran in is as strict as `docker run --read-only` is."""
    attempt = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch(); print('written')"
    for folder in ("/opt/lupine/bento", "/opt/lupine/venv", "/usr/local", "/var/tmp", "/tmp"):  # noqa: S108 - the container's
        inside = remote.container({}).command(["python", "-c", attempt, f"{folder}/x"])
        done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=60)
        assert ("written" in done.stdout) == (folder == "/tmp"), (folder, done.stderr)  # noqa: S108


def test_the_image_holds_the_bento_and_no_installer(remote: Stage) -> None:
    """The same files as the bento's; no pip, no tests, no package for development."""
    bento = remote.tree / "bento"
    assert (bento / "triton_repo" / "magika" / "1" / "model.onnx").is_file()
    beside = {path.name for path in bento.iterdir()} - {"lupine_gateway.egg-info"}
    held = {"LICENSE", "bentofile.yaml", "constraints.txt", "lupine.toml", "requirements.txt"}
    assert beside == held | {"service", "triton_repo", "pyproject.toml", "README.md"}
    packages = next((remote.tree / "venv").glob("lib/python3*/site-packages"))
    assert not {"pip", "setuptools", "magika", "torch", "pytest"} & {
        path.name for path in packages.iterdir()
    }
    assert not list(packages.rglob("tests"))
    assert not [path for path in (remote.tree).iterdir() if path.name not in ("bento", "venv")]


@pytest.mark.triton
def test_the_image_with_the_managed_triton_serves(build: Build) -> None:
    """`--build-arg TRITON=managed`: tritonserver and its stubs run read-only and as nobody too."""
    require_triton_runtime()
    image = build.image(TRITON="managed")
    with serving_image(image) as served:
        assert "by the managed Triton in /opt/lupine/triton" in served.log.read_text()
        assert wrong_answers(served) == []
        family = psutil.Process(served.process.pid).children(recursive=True)
        assert served.stop() == 0
        assert not [p for p in family if lives(p)]


@pytest.mark.triton
def test_the_managed_triton_takes_nothing_from_the_distribution(build: Build) -> None:
    """Its libraries are its own but for those that the slim image has: no apt step is missing."""
    require_triton_runtime()
    image = build.image(TRITON="managed")
    slim = {"libc", "libm", "libdl", "libpthread", "librt", "libresolv", "ld-linux-x86-64"}
    slim |= {"libstdc++", "libgcc_s", "libz", "linux-vdso", "libexpat", "libpython3"}
    triton = next((image.tree / "triton").glob("lib/python3*/site-packages/pytriton/tritonserver"))
    inside = Path("/opt/lupine") / triton.relative_to(image.tree)
    own = inside.parents[1] / "nvidia_pytriton.libs"
    stub = f"python_backend_stubs/3.{sys.version_info.minor}/triton_python_backend_stub"
    for part in ("bin/tritonserver", "backends/python/libtriton_python.so", stub):
        listing = image.container({"LD_LIBRARY_PATH": str(own)}).command(
            ["ldd", str(inside / part)]
        )
        found = subprocess.run(listing, capture_output=True, text=True, check=True, timeout=60)
        foreign = [
            line.split()[0]
            for line in found.stdout.splitlines()
            if "/opt/lupine/" not in line
            and Path(line.split()[0]).name.partition(".")[0] not in slim
        ]
        assert foreign == [], part


def test_its_configuration_is_what_an_operator_expects(remote: Stage) -> None:
    """A fixed user that is not root, two ports, SIGTERM, `lupine serve`, and real settings."""
    assert remote.user == 10001
    assert remote.ports == (3000, 3001)
    assert remote.stop_signal == "SIGTERM"
    assert remote.entrypoint == ("lupine", "serve")
    chosen, origins = settings.load(remote.environment, ROOT)
    assert chosen.server.host == "0.0.0.0"  # noqa: S104 - in a container, and said so
    assert (chosen.server.port, chosen.server.grpc_port) == remote.ports
    assert "LUPINE_SERVER__HOST" in origins["server.host"]


def test_the_base_image_is_named_precisely_and_copies_are_in_the_context() -> None:
    """One release of Python, never `latest`; and `.dockerignore` lets through what is copied."""
    steps = instructions()
    bases = [step.value for step in steps if step.word == "FROM" and ":" in step.value]
    assert bases == ["python:3.11.14-slim-bookworm AS base"]
    copied = {
        name
        for step in steps
        if step.word == "COPY" and "--from=" not in step.value
        for name in step.value.split()[:-1]
    }
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert copied == allowed


def test_hadolint_has_nothing_to_say() -> None:
    """Its one exception carries a reason."""
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
