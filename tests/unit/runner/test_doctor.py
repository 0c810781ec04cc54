from __future__ import annotations

import resource
from pathlib import Path

import pytest

from service.runner import doctor
from service.runner.doctor import Check, State
from service.settings import Settings

CONFIG = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: 1 }
output { name: "y" data_type: TYPE_FP32 dims: 1 }
"""


def settings(repository: Path, kind: str = "onnx", **sections: object) -> Settings:
    return Settings.model_validate(
        {"repository": {"path": repository}, "engine": {"kind": kind}} | sections
    )


def one(checks: list[Check], topic: str) -> Check:
    (found,) = [check for check in checks if check.topic == topic]
    return found


def model(repository: Path, name: str, *versions: str, config: str = CONFIG) -> Path:
    folder = repository / name
    folder.mkdir()
    (folder / "config.pbtxt").write_text(config)
    for version in versions:
        (folder / version).mkdir()
        (folder / version / "model.onnx").write_bytes(b"graph")
    return folder


def test_what_the_gateway_stands_on_is_installed_here() -> None:
    """These tests could not run otherwise."""
    found = list(doctor.packages())
    assert all(check.state in (State.OK, State.NOTE) for check in found)
    assert one(found, "bentoml").found == "1.4.39"


def test_onnx_runtime_runs_a_graph_on_the_cpu(tmp_path: Path) -> None:
    """Listed is not enough: a provider counts when a session has it."""
    (check,) = doctor.onnxruntime(settings(tmp_path))
    assert check.state is State.OK
    assert "CPU" in check.found


def test_a_missing_repository_is_wrong(tmp_path: Path) -> None:
    """Nothing can be served from it."""
    (check,) = doctor.repository(settings(tmp_path / "nowhere"))
    assert check.state is State.WRONG
    assert "nowhere" in check.found


def test_an_empty_repository_is_a_warning(tmp_path: Path) -> None:
    """The gateway starts, and models may come."""
    (check,) = doctor.repository(settings(tmp_path))
    assert check.state is State.WARNING
    assert "model.onnx" in check.mend


def test_one_broken_model_is_a_warning_beside_a_sound_one(tmp_path: Path) -> None:
    """The sound one serves."""
    model(tmp_path, "sound", "1", "2")
    model(tmp_path, "broken")
    found = list(doctor.repository(settings(tmp_path)))
    assert one(found, "repository").state is State.OK
    assert "1 of 2" in one(found, "repository").found
    assert one(found, "model sound").found == "version 1, 2"
    assert one(found, "model broken").state is State.WARNING


def test_a_repository_of_broken_models_is_wrong(tmp_path: Path) -> None:
    """There would be nothing to serve."""
    model(tmp_path, "broken")
    assert one(list(doctor.repository(settings(tmp_path))), "repository").state is State.WRONG


def test_magika_without_its_file_says_how_to_make_it(tmp_path: Path) -> None:
    """Its graph is no part of the sources."""
    model(tmp_path, "magika")
    assert "make setup" in one(list(doctor.repository(settings(tmp_path))), "model magika").mend


def test_echo_needs_no_graphs(tmp_path: Path) -> None:
    """It reads configs alone."""
    folder = model(tmp_path, "m", "1")
    (folder / "1" / "model.onnx").unlink()
    assert one(list(doctor.repository(settings(tmp_path, "echo"))), "model m").state is State.OK
    assert one(list(doctor.repository(settings(tmp_path))), "model m").state is State.WARNING


@pytest.mark.parametrize(
    ("soft", "hard", "state"),
    [
        (1024, 1024, State.WARNING),
        (1024, 1 << 20, State.OK),
        (1 << 20, 1 << 20, State.OK),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, State.OK),
    ],
)
def test_the_hard_limit_of_open_files_decides(soft: int, hard: int, state: State) -> None:
    """`lupine serve` raises the soft one by itself."""
    assert doctor.open_files(soft, hard).state is state


def test_no_shared_memory_is_a_warning(tmp_path: Path) -> None:
    """Triton's stubs cannot do without."""
    assert doctor.shared_memory(tmp_path / "shm").state is State.WARNING
    assert doctor.shared_memory(tmp_path).state is State.OK


def test_no_runtime_is_wrong_only_for_who_asks_for_it(tmp_path: Path) -> None:
    """`auto` serves without, and a Triton elsewhere needs none."""
    nowhere = {"runtime": tmp_path / "nowhere"}
    elsewhere = nowhere | {"url": "triton:8001"}
    states = [
        doctor.managed_triton(settings(tmp_path, kind, triton=triton)).state
        for kind, triton in (("triton", nowhere), ("auto", nowhere), ("triton", elsewhere))
    ]
    assert states == [State.WRONG, State.NOTE, State.NOTE]


def test_the_engine_is_named_with_its_reason(tmp_path: Path) -> None:
    """And where there is none, what to take instead."""
    nowhere = {"runtime": tmp_path / "nowhere"}
    auto = doctor.engine(settings(tmp_path, "auto", triton=nowhere))
    assert auto.found.startswith("onnx: ")
    wrong = doctor.engine(settings(tmp_path, "triton", triton=nowhere))
    assert (wrong.state, "--engine onnx" in wrong.mend) == (State.WRONG, True)
