"""Opening a model file as its configuration asks for, in either of the two places that do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks.harness import mlp
from service.repository import session


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version's folder with a small model in it."""
    repository = mlp.repository(tmp_path_factory.mktemp("repo"), triton_batches=False)
    return repository / "mlp" / "1"


def config(**parameters: str) -> dict[str, Any]:
    """A configuration with these parameters."""
    return {"name": "mlp", "parameters": {k: {"string_value": v} for k, v in parameters.items()}}


def test_the_native_backends_parameters_reach_onnx_runtime() -> None:
    """Threads, execution mode, arena and memory pattern are as the configuration says."""
    options = session.session_options(
        config(
            intra_op_thread_count="3",
            inter_op_thread_count="2",
            execution_mode="1",
            enable_mem_arena="0",
            enable_mem_pattern="0",
        )
    )
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 2
    assert options.execution_mode.name == "ORT_PARALLEL"
    assert not options.enable_cpu_mem_arena
    assert not options.enable_mem_pattern


@pytest.mark.parametrize(
    ("level", "expected"),
    [(-1, "ORT_ENABLE_BASIC"), (0, "ORT_ENABLE_ALL"), (1, "ORT_ENABLE_EXTENDED"),
     (2, "ORT_DISABLE_ALL")],
)  # fmt: skip
def test_the_graph_optimisation_level_is_read_as_the_native_backend_reads_it(
    level: int, expected: str
) -> None:
    """Triton's numbers are not ONNX Runtime's."""
    given = config() | {"optimization": {"graph": {"level": level}}}
    assert session.session_options(given).graph_optimization_level.name == expected


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"intra_op_thread_count": "many"}, "intra_op_thread_count is 'many'"),
        ({"execution_mode": "7"}, "execution_mode is 7: 0 (sequential) or 1 (parallel)"),
        ({"enable_mem_arena": "perhaps"}, "enable_mem_arena is 'perhaps'"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_by_name(
    parameters: dict[str, str], told: str
) -> None:
    """What was wrong, and what would be right."""
    with pytest.raises(session.RefusedError) as refusal:
        session.session_options(config(**parameters))
    assert told in str(refusal.value)
    assert "expected" in str(refusal.value)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd"])
def test_a_model_file_outside_its_folder_is_refused(model: Path, name: str) -> None:
    """A configuration is no way to read the host's files."""
    with pytest.raises(session.RefusedError, match="leads out of"):
        session.model_file(model, {"default_model_filename": name})


def test_a_file_that_is_no_model_is_refused_with_onnx_runtimes_reason(tmp_path: Path) -> None:
    """The file is named as the operator knows it."""
    path = tmp_path / "1" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(b"no model")
    with pytest.raises(session.RefusedError, match=r"cannot open 1/model\.onnx"):
        session.open_session(path, config())


def test_texts_survive_the_way_in_and_out_and_other_bytes_are_named() -> None:
    """UTF-8 is all that ONNX Runtime's strings hold."""
    given = np.array([["Zürich".encode(), b""]], np.object_)
    assert session.to_bytes(session.to_texts("city", given)).tolist() == given.tolist()
    with pytest.raises(ValueError, match="element 1 of input 'city' is not UTF-8"):
        session.to_texts("city", np.array([b"ok", b"\xff"], np.object_))


def test_onnx_runtime_keeps_no_record_of_its_user(model: Path, tmp_path: Path) -> None:
    """Release 1.31 would write a device id and usage events into the home folder."""
    code = (
        "from pathlib import Path; import sys; from service.repository import session; "
        "session.open_session(Path(sys.argv[1]) / 'model.onnx', {'name': 'mlp'})"
    )
    environment = {k: v for k, v in os.environ.items() if k != "XDG_CACHE_HOME"}
    subprocess.run(
        [sys.executable, "-c", code, str(model)],
        env=environment | {"HOME": str(tmp_path)},
        check=True,
    )
    assert list(tmp_path.iterdir()) == []


def test_the_model_of_the_published_figures_is_always_the_same(model: Path, tmp_path: Path) -> None:
    """Its weights are seeded: two runs compare the same work."""
    again = mlp.repository(tmp_path, triton_batches=True) / "mlp" / "1" / "model.onnx"
    assert onnx.load(again) == onnx.load(model / "model.onnx")
