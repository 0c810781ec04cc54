"""The bento: built without a network, served from an empty folder, right in what it answers."""

from __future__ import annotations

import shutil
import tomllib
from importlib import metadata
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from packaging.requirements import Requirement

from benchmarks.harness.artefact import bento, build_bento, serving_bento, wrong_answers
from benchmarks.harness.gateway import ROOT
from service import __version__
from tests.requires import require_namespaces, require_triton_runtime

_ONNX = {"LUPINE_ENGINE__KIND": "onnx"}
_PARTS = ("service", "triton_repo", "models", "tests", "docs")
_FILES = ("bentofile.yaml", "requirements.txt", "constraints.txt", "lupine.toml", "LICENSE")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh BENTOML_HOME with the bento in it, built with no network but loopback."""
    require_namespaces()
    made = tmp_path_factory.mktemp("bentoml")
    built = build_bento(made)
    assert built.returncode == 0, built.stdout + built.stderr
    return made


def test_it_holds_what_serving_needs_and_nothing_else(home: Path) -> None:
    """Every module and data file of the service, every model; no tests, no exporters, no caches."""
    source = bento(home) / "src"
    held = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    service = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "service").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    models = {
        f"triton_repo/{name}/{file}"
        for name in ("digits", "magika", "parcel_router")
        for file in ("config.pbtxt", "1/model.onnx")
    }
    assert service | models <= held
    beside = {name for name in held if not name.startswith(("service/", "triton_repo/"))}
    assert beside == set(_FILES)


def test_a_build_without_magikas_model_says_so(tmp_path: Path) -> None:
    """It is in no version control: a bento of a bare clone would answer /identify with 404."""
    require_namespaces()
    for name in _PARTS[:2]:
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in _FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.rmtree(tmp_path / "triton_repo" / "magika" / "1")
    built = build_bento(tmp_path / "home", tmp_path)
    assert built.returncode != 0
    assert "magika: it has no version" in built.stdout + built.stderr
    assert "make setup" in built.stdout + built.stderr


def test_it_serves_by_its_tag_from_an_empty_folder(home: Path, tmp_path: Path) -> None:
    """Right answers on both wires and at /identify, on loopback alone, and nothing left behind."""
    with serving_bento("lupine:latest", home, tmp_path, _ONNX) as served:
        assert wrong_answers(served) == []
        about = httpx.get(f"{served.url}/v2").json()
        assert (about["name"], about["version"]) == ("lupine", __version__)
        listening = {
            connection.laddr.ip
            for process in psutil.Process(served.process.pid).children(recursive=True)
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
        assert served.stop() == 0
    assert not list(tmp_path.iterdir())


def test_what_lies_in_the_working_directory_comes_first(home: Path, tmp_path: Path) -> None:
    """A repository there is served instead of the bento's, and `lupine.toml` there is obeyed."""
    shutil.copytree(ROOT / "triton_repo" / "digits", tmp_path / "triton_repo" / "digits")
    (tmp_path / "lupine.toml").write_text("[server]\nmax_body_bytes = 5000\n")
    with serving_bento(str(bento(home)), home, tmp_path, _ONNX) as served:
        index = httpx.post(f"{served.url}/v2/repository/index").json()
        assert [model["name"] for model in index] == ["digits"]
        refused = httpx.post(f"{served.url}/v2/models/digits/infer", content=b" " * 6000)
        assert refused.status_code == 413


@pytest.mark.triton
def test_it_serves_with_the_managed_triton(home: Path, tmp_path: Path) -> None:
    """LUPINE_TRITON__RUNTIME names the runtime; tritonserver reads the bento's own repository."""
    runtime = require_triton_runtime()
    chosen = {
        "LUPINE_ENGINE__KIND": "triton",
        "LUPINE_TRITON__RUNTIME": str(runtime.directory.absolute()),
    }
    with serving_bento(str(bento(home)), home, tmp_path, chosen) as served:
        assert wrong_answers(served) == []
        assert f"serving {bento(home)}/src/triton_repo" in served.log.read_text()
        assert served.stop() == 0


def test_its_packages_are_pinned_as_everywhere_and_complete() -> None:
    """`requirements.txt` has all that the project asks for, at the pins of `constraints.txt`."""
    listed = _pins(ROOT / "requirements.txt")
    assert listed.items() <= _pins(ROOT / "constraints.txt").items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    left = [Requirement(text) for text in wanted if not text.startswith("magika")]
    needed: set[str] = set()
    while left:
        one = left.pop()
        name = _normal(one.name)
        extras = one.extras or {""}
        if one.marker and not any(one.marker.evaluate({"extra": e}) for e in extras):
            continue
        if name in needed and not one.extras:
            continue
        needed.add(name)
        for text in metadata.requires(name) or []:
            below = Requirement(text)
            if not below.marker or any(below.marker.evaluate({"extra": e}) for e in extras):
                below.marker = None
                left.append(below)
    assert needed == set(listed)


def test_its_label_tells_the_version() -> None:
    """One version, whether the project, the service or the bento tells it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = yaml.safe_load((ROOT / "bentofile.yaml").read_text())["labels"]
    assert project["version"] == __version__ == labels["version"]


def _pins(path: Path) -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return {_normal(name): v for name, _, v in (line.partition("==") for line in lines if line)}


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
