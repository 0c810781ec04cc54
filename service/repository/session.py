"""Opens a model file with ONNX Runtime, as the model's configuration asks for.

The parameters and their meaning are those of NVIDIA's native backend. Source:
github.com/triton-inference-server/onnxruntime_backend, `README.md` and `src/onnxruntime.cc`
(ModelState's constructor). One default differs: the native backend leaves `intra_op_thread_count`
to ONNX Runtime, which takes every core for each session. Here each instance is a process, so the
default is the cores divided by the model's instances, and threads that wait do not spin.

This module is also loaded inside Triton's own environment: beside the standard library it may
import ONNX Runtime and NumPy, there of major version 1, and `completion`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

# ONNX Runtime 1.31 otherwise keeps a device id and usage events in the user's cache folder. It
# reads this when it is loaded, so it must come first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from service.repository.completion import Graph, GraphTensor

_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_SILENT = 4  # its errors are raised too: a hostile caller must not fill the log with them


InferenceSession = ort.InferenceSession


class RefusedError(Exception):
    """The model cannot be served as its configuration or file stands, and why."""


def explained(config: Mapping[str, Any], refusal: Exception) -> str:
    """The refusal's text, with the model's name in it."""
    name, text = repr(config["name"]), str(refusal)
    return text if name in text else f"model {name}: {text}"


def model_file(version: Path, config: Mapping[str, Any]) -> Path:
    """The file to open in a version's folder.

    Raises:
        RefusedError: it is not there, or the configured name leads out of the folder.
    """
    name = config.get("default_model_filename") or "model.onnx"
    named = PurePosixPath(name)
    if named.is_absolute() or ".." in named.parts:
        raise RefusedError(f"default_model_filename {name!r} leads out of the version's folder")
    path = version / named
    if path.is_dir():
        path /= "model.onnx"
    if not path.is_file():
        below = "/".join(path.parts[-len(named.parts) - 2 :])
        raise RefusedError(f"there is no model file {below}")
    return path


def read_graph(path: Path) -> Graph:
    """What the model in `path` takes and gives, opened as cheaply as can be.

    Raises:
        RefusedError: ONNX Runtime cannot read it.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = _SILENT
    return graph_of(_open(path, options))


def open_session(path: Path, config: Mapping[str, Any]) -> ort.InferenceSession:
    """The session that the configuration asks for.

    Raises:
        RefusedError: a parameter has no such value, or ONNX Runtime cannot open the file.
    """
    return _open(path, session_options(config))


def graph_of(session: ort.InferenceSession) -> Graph:
    """What an open model takes and gives."""
    return Graph(
        inputs=_tensors(session.get_inputs()),
        outputs=_tensors(session.get_outputs()),
        initializers=_tensors(session.get_overridable_initializers()),
    )


def session_options(config: Mapping[str, Any]) -> ort.SessionOptions:
    """ONNX Runtime's options out of `parameters` and `optimization`.

    Raises:
        RefusedError: a value is none of the possible ones.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = _LEVELS.get(level, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    mode = _integer(config, "execution_mode")
    if mode not in (0, 1):
        raise RefusedError(f"execution_mode is {mode}: 0 (sequential) or 1 (parallel) is expected")
    options.execution_mode = (
        ort.ExecutionMode.ORT_PARALLEL if mode else ort.ExecutionMode.ORT_SEQUENTIAL
    )
    threads = _integer(config, "intra_op_thread_count")
    options.intra_op_num_threads = threads if threads > 0 else _default_threads(config)
    threads = _integer(config, "inter_op_thread_count")
    if threads > 0:
        options.inter_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = _boolean(config, "enable_mem_arena", default=True)
    options.enable_mem_pattern = _boolean(config, "enable_mem_pattern", default=True)
    allocator = "session.use_device_allocator_for_initializers"
    if _parameter(config, allocator) is not None:
        options.add_session_config_entry(allocator, str(_parameter(config, allocator)))
    return options


def run_options(config: Mapping[str, Any]) -> ort.RunOptions:
    """The options of each run: whether, and where, the memory arena shrinks afterwards."""
    options = ort.RunOptions()
    options.log_severity_level = _SILENT
    shrinkage = "memory.enable_memory_arena_shrinkage"
    value = _parameter(config, shrinkage)
    if value is not None:
        options.add_run_config_entry(shrinkage, value)
    return options


def to_texts(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """BYTES as ONNX Runtime takes them: its Python strings are UTF-8 and nothing else.

    Raises:
        ValueError: an element of input `name` is not UTF-8.
    """
    texts = np.empty(array.shape, np.object_)
    flat = texts.reshape(-1)
    for i, element in enumerate(array.reshape(-1)):
        try:
            flat[i] = element.decode() if isinstance(element, bytes) else str(element)
        except UnicodeDecodeError as error:
            raise ValueError(f"element {i} of input {name!r} is not UTF-8 ({error})") from None
    return texts


def to_bytes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """ONNX Runtime's strings as BYTES."""
    encoded = np.empty(array.shape, np.object_)
    flat = encoded.reshape(-1)
    for i, element in enumerate(array.reshape(-1)):
        flat[i] = element if isinstance(element, bytes) else str(element).encode()
    return encoded


def refuse_unsupported(config: Mapping[str, Any]) -> None:
    """Refuse what would otherwise be passed over in silence.

    Raises:
        RefusedError: the configuration asks for what only the native backend can do.
    """
    asked = {
        "batch_input": config.get("batch_input"),
        "batch_output": config.get("batch_output"),
        "allow_ragged_batch": [i for i in config.get("input", ()) if i.get("allow_ragged_batch")],
        "sequence_batching.state": config.get("sequence_batching", {}).get("state"),
        "model_operations": config.get("model_operations", {}).get("op_library_filename"),
        "cpu_execution_accelerator": config.get("optimization", {})
        .get("execution_accelerators", {})
        .get("cpu_execution_accelerator"),
    }
    for name, value in asked.items():
        if value:
            raise RefusedError(
                f"{name} is not offered by the managed Triton; NVIDIA's container, with its native "
                f"ONNX Runtime backend, has it"
            )


def _open(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        below = "/".join(path.parts[-2:])
        raise RefusedError(f"ONNX Runtime cannot open {below}: {error}") from error


def _tensors(arguments: list[Any]) -> tuple[GraphTensor, ...]:
    return tuple(GraphTensor(a.name, a.type, tuple(a.shape)) for a in arguments)


def _default_threads(config: Mapping[str, Any]) -> int:
    instances = sum(int(g.get("count", 1)) for g in config.get("instance_group", ())) or 1
    return max(1, len(os.sched_getaffinity(0)) // instances)


def _parameter(config: Mapping[str, Any], name: str) -> str | None:
    value: str | None = config.get("parameters", {}).get(name, {}).get("string_value")
    return value


def _integer(config: Mapping[str, Any], name: str) -> int:
    text = _parameter(config, name)
    try:
        return 0 if text is None else int(text)
    except ValueError:
        raise RefusedError(f"parameter {name} is {text!r}: a whole number is expected") from None


def _boolean(config: Mapping[str, Any], name: str, *, default: bool) -> bool:
    text = _parameter(config, name)
    if text is None:
        return default
    known = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in known:
        raise RefusedError(f"parameter {name} is {text!r}: true, false, 1 or 0 is expected")
    return known[text.lower()]
