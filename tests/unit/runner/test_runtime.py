"""Finding the managed runtime, and how it is started. Nothing is started here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from service.runner import stub_memory
from service.runner.runtime import (
    STAMP,
    Runtime,
    default_directory,
    find_runtime,
    missing_reason,
    unsupported_reason,
)

supported = pytest.mark.skipif(
    unsupported_reason() is not None, reason=f"managed Triton: {unsupported_reason()}"
)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    """A runtime whose files are only names."""
    return Runtime(
        directory=tmp_path,
        server=tmp_path / "tritonserver",
        backend=(),
        libraries=(tmp_path / "wheel.libs", tmp_path / "python"),
    )


@supported
def test_nothing_built(tmp_path: Path) -> None:
    """An empty folder is no runtime, and the reason says what builds one."""
    assert find_runtime(tmp_path) is None
    assert missing_reason(tmp_path) == f"no runtime is built in {tmp_path}: `make setup` builds it"


@supported
def test_half_built(tmp_path: Path) -> None:
    """A stamp beside missing files is no runtime, and they are named."""
    python = ".".join(str(part) for part in sys.version_info[:2])
    stamp = {"python": python, "libpython": str(tmp_path)}
    (tmp_path / STAMP).write_text(json.dumps(stamp))
    assert find_runtime(tmp_path) is None
    assert "bin/tritonserver" in str(missing_reason(tmp_path))


@supported
@pytest.mark.parametrize("stamp", ["", "[]", "{}", '{"python": "2.7", "libpython": "/"}'])
def test_a_foreign_stamp(tmp_path: Path, stamp: str) -> None:
    """A stamp that is broken or of another Python is no runtime."""
    (tmp_path / STAMP).write_text(stamp)
    assert find_runtime(tmp_path) is None
    assert "the runtime in" in str(missing_reason(tmp_path))


def test_the_environment_names_the_folder(tmp_path: Path) -> None:
    """LUPINE_TRITON__RUNTIME decides; else it is `.triton` in the project."""
    assert default_directory({"LUPINE_TRITON__RUNTIME": str(tmp_path)}) == tmp_path
    assert default_directory({}).name == ".triton"


def test_its_own_numpy_comes_first(runtime: Runtime) -> None:
    """Its bin leads PATH, its libraries lead theirs, and no other packages are reachable."""
    base = {"PATH": "before", "PYTHONPATH": "elsewhere", "PYTHONHOME": "elsewhere", "KEPT": "yes"}
    variables = runtime.environment(base)
    assert variables["PATH"] == f"{runtime.directory / 'bin'}:before"
    assert variables["LD_LIBRARY_PATH"] == ":".join(str(path) for path in runtime.libraries)
    assert not {"PYTHONPATH", "PYTHONHOME"} & variables.keys()
    assert variables["KEPT"] == "yes"
    assert base["PATH"] == "before"


def test_it_listens_on_loopback_alone(runtime: Runtime, tmp_path: Path) -> None:
    """Every address is loopback, and models load when asked."""
    command = runtime.command(
        tmp_path,
        http_port=1,
        grpc_port=2,
        metrics_port=3,
        backend_directory=tmp_path,
        shm_prefix="lupine-1-00000000-",
        load_models=["a", "b"],
        extra=["--log-verbose=1"],
    )
    addresses = [argument for argument in command if "-address=" in argument]
    assert len(addresses) == 3
    assert all(address.endswith("=127.0.0.1") for address in addresses)
    assert "--model-control-mode=explicit" in command
    assert command[-3:] == ["--load-model=a", "--load-model=b", "--log-verbose=1"]


def test_a_sweep_takes_its_own(tmp_path: Path) -> None:
    """Sweeping a server's prefix leaves the regions of others."""
    mine, other = stub_memory.new_prefix(), stub_memory.new_prefix()
    for name in (f"{mine}1", f"{mine}2", f"{other}1", "unrelated"):
        (tmp_path / name).touch()
    assert stub_memory.sweep(mine, tmp_path) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{other}1", "unrelated"])


@pytest.mark.parametrize("prefix", ["", "lupine-", "triton_python_backend_shm_region_"])
def test_a_sweep_of_anything_else_is_refused(tmp_path: Path, prefix: str) -> None:
    """A prefix that is not one of ours never removes a file."""
    with pytest.raises(ValueError, match="not a prefix of ours"):
        stub_memory.sweep(prefix, tmp_path)
