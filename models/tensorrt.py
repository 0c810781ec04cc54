"""How the models go to TensorRT, on a host with a GPU: configurations, build script, and a check.

Two ways, both generated out of the spec into `deploy/tensorrt/<model>/`:

- `onnx/config.pbtxt`: the same ONNX file, with Triton's ONNX Runtime backend handing the graph to
  TensorRT when it loads (its `execution_accelerators`; slow loads, no file to build);
- `plan/config.pbtxt` and `plan/build.sh`: a plan built beforehand on the very kind of GPU that will
  run it, by `trtexec`.

Source of the accelerator's parameters: README of triton-inference-server/onnxruntime_backend,
"TensorRT Optimization"; of trtexec's flags: TensorRT's developer guide, "trtexec".
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import util
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from models.configuration import config_of
from models.freshness import ROOT
from models.specification import ModelError, ModelSpec, TensorRT
from service.protocol.datatypes import Datatype
from service.protocol.messages import TensorSpec

FOLDER = ROOT / "deploy" / "tensorrt"
_WHEEL = "tensorrt_rtx"
_BUILD_SECONDS = 900
_MIB = 1 << 20


def files(spec: ModelSpec) -> dict[Path, str]:
    """What is generated for a model: texts by path; nothing where TensorRT cannot run it."""
    if isinstance(spec.tensorrt, str):
        return {}
    folder = FOLDER / spec.name
    return {
        folder / "onnx" / "config.pbtxt": _accelerated(spec, spec.tensorrt),
        folder / "plan" / "config.pbtxt": _plan(spec),
        folder / "plan" / "build.sh": _script(spec, spec.tensorrt),
    }


def write(spec: ModelSpec) -> list[Path]:
    """Write what is generated for a model; gives the files."""
    written = []
    for path, text in files(spec).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".sh":
            path.chmod(0o755)
        written.append(path)
    return written


def shapes(spec: ModelSpec, rows: int) -> str:
    """The shapes of all inputs at so many rows, as trtexec takes them: `a:2x3,b:2x1`."""
    return ",".join(
        f"{tensor.name}:{'x'.join(map(str, (rows, *tensor.shape[1:])))}" for tensor in spec.inputs
    )


def check(spec: ModelSpec, model: Path) -> str:
    """Let TensorRT-RTX parse a model and build an engine with the spec's profile, without a GPU.

    Gives a sentence. That a plan answers rightly in half precision, only a GPU can show.

    Raises:
        ModelError: TensorRT does not take the model, and what it says; or it is not installed.
    """
    if isinstance(spec.tensorrt, str):
        return f"not for TensorRT: {spec.tensorrt}"
    if util.find_spec(_WHEEL) is None:
        raise ModelError(
            "TensorRT-RTX is not installed: take the extra `tensorrt` "
            "(pip install -e '.[tensorrt]')"
        )
    bounds = (1, spec.tensorrt.optimal_rows, spec.max_batch_size)
    profile = {
        tensor.name: [[rows, *tensor.shape[1:]] for rows in bounds] for tensor in spec.inputs
    }
    # A process of its own: what it is given is not trusted to leave it alive.
    command = [sys.executable, "-m", "models.tensorrt_build", str(model), json.dumps(profile)]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"TensorRT-RTX has not built {spec.name!r} within {_BUILD_SECONDS} s"
        ) from None
    if done.returncode:
        lines = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()
        raise ModelError(f"TensorRT-RTX does not take {spec.name!r}: {lines[-1]}")
    return done.stdout.strip()


def _accelerated(spec: ModelSpec, wanted: TensorRT) -> str:
    config = config_of(spec)
    config.instance_group.add(kind="KIND_GPU", count=1)
    accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(
        name="tensorrt"
    )
    bounds = {"min": 1, "opt": wanted.optimal_rows, "max": spec.max_batch_size}
    for key, value in {
        "precision_mode": "FP16",
        "max_workspace_size_bytes": str(wanted.workspace_bytes),
        "trt_engine_cache_enable": "true",
        "trt_engine_cache_path": f"/var/cache/lupine/tensorrt/{spec.name}",
        **{f"trt_profile_{name}_shapes": shapes(spec, rows) for name, rows in bounds.items()},
    }.items():
        accelerator.parameters[key] = value
    return _text(spec, config)


def _plan(spec: ModelSpec) -> str:
    config = config_of(spec)
    config.backend = ""
    config.platform = "tensorrt_plan"
    config.instance_group.add(kind="KIND_GPU", count=1)
    return _text(spec, config)


def _script(spec: ModelSpec, wanted: TensorRT) -> str:
    inputs = ",".join(f"{_precision(tensor)}:chw" for tensor in spec.inputs)
    outputs = ",".join(f"{_precision(tensor)}:chw" for tensor in spec.outputs)
    return f"""#!/bin/sh
# Generated from models/{spec.name}.py by `python -m models record {spec.name}`.
#
# Builds the plan of `{spec.name}` for the GPU of this host: a plan runs on the kind of GPU and the
# release of TensorRT that built it, and nowhere else.
#
#   deploy/tensorrt/{spec.name}/plan/build.sh MODEL.onnx VERSION-FOLDER
#
# Then hold it to its tests: in half precision answers may differ by {wanted.fp16_tolerance:g}.
set -eu
[ $# -eq 2 ] || {{ echo "usage: $0 MODEL.onnx VERSION-FOLDER" >&2; exit 2; }}
mkdir -p "$2"
exec trtexec --onnx="$1" --saveEngine="$2/model.plan" --fp16 \\
  --minShapes={shapes(spec, 1)} \\
  --optShapes={shapes(spec, wanted.optimal_rows)} \\
  --maxShapes={shapes(spec, spec.max_batch_size)} \\
  --inputIOFormats={inputs} \\
  --outputIOFormats={outputs} \\
  --memPoolSize=workspace:{wanted.workspace_bytes // _MIB}M \\
  --skipInference
"""


def _precision(tensor: TensorSpec) -> str:
    """An edge keeps the type that clients know, whatever is computed within."""
    return {Datatype.FP32: "fp32", Datatype.INT32: "int32", Datatype.INT64: "int64"}[
        tensor.datatype
    ]


def _text(spec: ModelSpec, config: Any) -> str:
    head = f"# Generated from models/{spec.name}.py by `python -m models record {spec.name}`.\n"
    return head + str(text_format.MessageToString(config))
