"""What is committed of the models agrees with itself, and can be made again."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import behaviour, freshness, golden, manifest, predictors, suites, tensorrt
from models.catalog import NAMES, find
from models.configuration import config_of, config_text
from models.specification import ModelError
from models.verify import check_fit, check_golden
from service.repository import config as repository_config
from tests.committed import COMMITTED, REPOSITORY, SERVED, committed_model

EACH = pytest.mark.parametrize("name", NAMES)
EACH_SERVED = pytest.mark.parametrize("name", SERVED)


def models(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "models", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@EACH_SERVED
def test_manifest_names_the_bytes(name: str) -> None:
    """The manifest's digest and size are those of the model."""
    model = committed_model(name)
    known = manifest.load(name)
    assert known["sha256"] == manifest.sha256(model)
    assert known["bytes"] == len(model)


@EACH
def test_manifest_says_what_the_spec_says(name: str) -> None:
    """What is read from manifests, without torch, is what the model's own module says."""
    known, spec = manifest.load(name), find(name)
    assert known["kind"] == spec.kind.value
    assert known["tolerance"] == spec.tolerance
    assert known["max_batch_size"] == spec.max_batch_size
    assert [one["name"] for one in known["inputs"]] == [one.name for one in spec.inputs]
    assert [tuple(one["shape"]) for one in known["outputs"]] == [one.shape for one in spec.outputs]
    assert known["packages"].keys() == set(spec.packages)
    assert known["sources"].keys() == {f"models/{name}.py", *spec.sources}


@EACH
def test_what_is_committed_is_fresh(name: str) -> None:
    """Nothing that decides a model's bytes has changed since it was recorded."""
    assert freshness.changes(manifest.load(name)) == [], f"python -m models record {name}"


def test_committed_models_are_small() -> None:
    """A model that is committed weighs less than 200 kB."""
    for name in COMMITTED:
        assert len(committed_model(name)) < 200_000


@EACH_SERVED
def test_config_is_the_generated_one(name: str) -> None:
    """The committed config.pbtxt is what the spec gives, and reads back as the same."""
    folder, spec = REPOSITORY / name, find(name)
    assert (folder / repository_config.CONFIG_FILE).read_text() == config_text(spec)
    assert repository_config.read(folder) == repository_config.to_json(config_of(spec))


@EACH_SERVED
def test_config_means_the_spec(name: str) -> None:
    """The gateway reads from config.pbtxt the very inputs, outputs and policy of the spec."""
    spec = find(name)
    servable = repository_config.servable(repository_config.read(REPOSITORY / name), "1")
    assert tuple(servable.inputs.values()) == spec.inputs
    assert tuple(servable.outputs.values()) == spec.outputs
    assert servable.max_batch_size == spec.max_batch_size > 0
    assert servable.policy.default_timeout == spec.default_timeout_ms / 1000


@EACH
def test_files_for_tensorrt_are_the_generated_ones(name: str) -> None:
    """Configurations and build scripts for a host with a GPU are what the spec gives."""
    for path, text in tensorrt.files(find(name)).items():
        assert path.read_text() == text, f"python -m models record {name}"


@EACH_SERVED
def test_golden_cases_pass(name: str) -> None:
    """ONNX Runtime gives what the authors' own code gave."""
    cases, spec = golden.load(name), find(name)
    assert len(cases) >= 4
    model = committed_model(name)
    check_fit(model, spec)
    check_golden(model, spec, cases)


@EACH_SERVED
def test_the_suite_is_passed(name: str) -> None:
    """The committed model behaves as its suite says."""
    findings = behaviour.check(suites.load(name), predictors.local(committed_model(name)))
    assert behaviour.failed(findings) == []
    assert len(findings) >= 5


@EACH
def test_golden_file_round_trips(name: str) -> None:
    """Reading the golden cases and writing them again changes nothing."""
    assert golden.dumps(find(name), golden.load(name)) == golden.path_of(name).read_text()


def test_golden_cases_catch_a_changed_answer() -> None:
    """A golden case that the model answers otherwise is named, with how far off it was."""
    spec = find("digits")
    case = golden.load("digits")[0]
    wrong = {"logits": case.outputs["logits"] + np.float32(0.01)}
    with pytest.raises(ModelError, match=r"'a held-out 0' of 'digits': 'logits' is 0\.01 off"):
        check_golden(committed_model("digits"), spec, [dataclasses.replace(case, outputs=wrong)])


def test_a_model_that_does_not_fit_is_refused() -> None:
    """One model's bytes under another's spec are refused by the name that differs."""
    with pytest.raises(ModelError, match=r"digits.*names input 'image'.*has 'bytes'"):
        check_fit(committed_model("magika"), find("digits"))
    with pytest.raises(ModelError, match="ONNX Runtime does not load 'digits'"):
        check_fit(b"no model", find("digits"))


@pytest.mark.parametrize("name", COMMITTED)
def test_export_reproduces_the_committed_bytes(name: str, tmp_path: Path) -> None:
    """A fresh process trains and exports the same model, bit for bit, on any x86-64 processor.

    With other packages it says which differ, and holds the model's behaviour against its suite.
    """
    (made,) = json.loads(models("export", name, "--out", str(tmp_path), "--json").stdout)
    path = Path(made["path"])
    assert path == tmp_path / name / "1" / "model.onnx"
    assert manifest.sha256(path.read_bytes()) == made["sha256"]
    assert made["tests"] >= 4
    assert made["reproduced"] or made["differs"]
    if made["reproduced"]:
        assert path.read_bytes() == committed_model(name)


def test_packaging_needs_no_training_libraries(tmp_path: Path) -> None:
    """`models package` works where torch, scikit-learn and onnx are absent, as in `make setup`."""
    program = (
        "import sys, runpy\n"
        "absent = ('torch', 'sklearn', 'skl2onnx', 'onnx', 'onnxscript', 'magika.magika')\n"
        "sys.modules.update(dict.fromkeys(absent))\n"
        f"sys.argv = ['models', 'package', 'magika', '--json', '--out', {str(tmp_path)!r}]\n"
        "runpy.run_module('models', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(done.stdout)
    assert made["reproduced"]
    assert Path(made["path"]).read_bytes() == committed_model("magika")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["package", "digits"], "in no wheel"),
        (["export", "nothing"], "no model 'nothing'"),
        (["export"], "name models or say --all"),
    ],
)
def test_usage(arguments: list[str], reason: str) -> None:
    """A wrong call exits 2 and says what would be right."""
    told = " ".join(models(*arguments, code=2).stderr.replace("│", " ").split())
    assert reason in told


def test_missing_training_libraries_are_named() -> None:
    """Exporting without the `export` extra fails with the extra's name, not with a traceback."""
    program = (
        "import sys, runpy\nsys.modules['torch'] = None\n"
        "sys.argv = ['models', 'export', 'digits', '--out', 'unused']\n"
        "runpy.run_module('models', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: building 'digits' needs the package 'torch'")
