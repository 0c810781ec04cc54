"""What goes to a host with a GPU: configurations, the build script, and TensorRT's own word."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from models import tensorrt
from models.catalog import find
from models.specification import ModelError
from tests.committed import REPOSITORY


def generated(name: str, kind: str) -> model_config_pb2.ModelConfig:
    text = tensorrt.files(find(name))[tensorrt.FOLDER / name / kind / "config.pbtxt"]
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_the_accelerated_variant_is_the_same_file_handed_to_tensorrt() -> None:
    """The backend stays ONNX Runtime; the profile spans one row to the largest batch."""
    config = generated("digits", "onnx")
    assert (config.backend, config.platform) == ("onnxruntime", "")
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert accelerator.parameters["precision_mode"] == "FP16"
    assert accelerator.parameters["trt_profile_min_shapes"] == "image:1x1x8x8"
    assert accelerator.parameters["trt_profile_max_shapes"] == "image:256x1x8x8"
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU


def test_the_plan_variant_keeps_names_types_and_policy() -> None:
    """For a client a plan is the same model: inputs, outputs, batch and policy are as before."""
    plan, plain = generated("silero_vad", "plan"), generated("silero_vad", "onnx")
    assert (plan.platform, plan.backend) == ("tensorrt_plan", "")
    assert list(plan.input) == list(plain.input)
    assert list(plan.output) == list(plain.output)
    assert plan.max_batch_size == plain.max_batch_size
    assert dict(plan.parameters) == dict(plain.parameters)


def test_the_build_script_says_how_it_is_called(tmp_path: Path) -> None:
    """It is executable, is a shell's, and names every input in each of its three shapes."""
    script = tensorrt.FOLDER / "delivery_eta" / "plan" / "build.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    (tmp_path / "trtexec").write_text('#!/bin/sh\nfor one; do echo "$one"; done\n')
    (tmp_path / "trtexec").chmod(0o755)
    folder = tmp_path / "7"
    done = subprocess.run(
        [str(script), "model.onnx", str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    flags = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    assert flags["--onnx"] == "model.onnx"
    assert flags["--saveEngine"] == f"{folder}/model.plan"
    assert folder.is_dir()
    for rows, flag in ((1, "--minShapes"), (32, "--optShapes"), (256, "--maxShapes")):
        assert flags[flag].split(",")[0] == f"distance_km:{rows}x1"
        assert len(flags[flag].split(",")) == 6
    assert flags["--inputIOFormats"] == ",".join(["fp32:chw"] * 6)


def test_what_tensorrt_cannot_run_says_why() -> None:
    """Texts and trees have no variant, and the check says the reason instead of failing."""
    spec = find("parcel_router")
    assert tensorrt.files(spec) == {}
    assert "neither strings nor trees" in tensorrt.check(spec, Path("unread"))


def test_tensorrt_builds_a_model_without_a_gpu() -> None:
    """TensorRT-RTX parses the committed file and builds an engine with the spec's profile."""
    said = tensorrt.check(find("digits"), REPOSITORY / "digits" / "1" / "model.onnx")
    assert said.startswith("TensorRT-RTX")
    assert "builds it" in said


def test_what_tensorrt_does_not_take_is_told(tmp_path: Path) -> None:
    """The reason is TensorRT's own; a model that does not fit the profile is no engine."""
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelError, match="TensorRT-RTX does not take 'digits': it does not parse"):
        tensorrt.check(find("digits"), broken)
