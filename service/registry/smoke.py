"""Opens a model that came from the registry for the first time, in a process that may die of it.

    python -m service.registry.smoke MODEL.onnx CONFIG.json

Reads a configuration, perhaps an empty one, completes it from the graph as the engines do, opens
the model, runs it with zeros at one row and at two, and prints the complete configuration as JSON.
What is wrong goes to stderr, and the exit status is 1. Memory and CPU seconds are limited before
anything is opened (`RLIMIT_AS`, `RLIMIT_CPU`), and the environment has no secrets.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from service.protocol.datatypes import Datatype
from service.registry.refused import RefusedVersionError
from service.repository.completion import (
    DATA_TYPES,
    ConfigMismatchError,
    Graph,
    GraphTensor,
    check,
    complete,
)

_WALL_FACTOR = 2  # seconds on the clock for each that it may compute
_TOLD = 500


def try_out(
    model: Path, config: Mapping[str, Any], *, seconds: int, memory_bytes: int
) -> dict[str, Any]:
    """Open and run a model in another process; gives its complete configuration.

    Args:
        model: the ONNX file.
        config: Triton's ModelConfig as JSON, as far as it is known; `name` must be there.
        seconds: of CPU that it may take; twice as many on the clock.
        memory_bytes: of address space.

    Raises:
        RefusedVersionError: it cannot be opened or run, and why.
    """
    command = [
        sys.executable,
        "-m",
        "service.registry.smoke",
        str(model),
        json.dumps(config),
        str(seconds),
        str(memory_bytes),
    ]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            command,
            capture_output=True,
            text=True,
            timeout=seconds * _WALL_FACTOR,
            check=False,
            env={"PATH": os.environ.get("PATH", ""), "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise RefusedVersionError(
            f"its trial run took more than {seconds * _WALL_FACTOR} s"
        ) from None
    if done.returncode < 0:
        raise RefusedVersionError(
            f"its trial run was ended by signal {-done.returncode}: it may use {seconds} s of CPU "
            f"and {memory_bytes:,} bytes"
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RefusedVersionError(f"its trial run failed: {lines[-1][:_TOLD]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(model: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, check, open and run; gives the complete configuration.

    Raises:
        Exception: whatever speaks against the model.
    """
    from service.repository import session  # noqa: PLC0415 - opens ONNX Runtime, within the limits

    graph = session.read_graph(model)
    whole = complete(_fitting(config, graph), graph)
    check(whole, graph)
    opened = session.open_session(model, whole)
    batched = int(whole.get("max_batch_size", 0)) > 0
    for rows in (1, 2) if batched else (1,):
        fed = {tensor.name: _zeros(tensor, rows) for tensor in graph.inputs}
        for tensor, answer in zip(graph.outputs, opened.run(None, fed), strict=True):
            _look(tensor, answer, rows if batched else None)
    return whole


def _fitting(config: Mapping[str, Any], graph: Graph) -> dict[str, Any]:
    """A graph that cannot batch gets no batches, where nobody has asked for them by name."""
    return dict(config) if graph.batchable else {**config, "max_batch_size": 0}


def _zeros(tensor: GraphTensor, rows: int) -> np.ndarray[Any, Any]:
    shape = [rows if at == 0 and size < 0 else max(size, 1) for at, size in enumerate(tensor.dims)]
    name = DATA_TYPES[tensor.type]
    if name == "TYPE_STRING":
        return np.full(shape, "", np.object_)
    return np.zeros(shape, Datatype[name.removeprefix("TYPE_")].dtype)


def _look(tensor: GraphTensor, answer: np.ndarray[Any, Any], rows: int | None) -> None:
    if rows is not None and (not answer.shape or answer.shape[0] != rows):
        raise ConfigMismatchError(
            f"output {tensor.name!r} has shape {list(answer.shape)} for {rows} rows"
        )
    if len(answer.shape) != len(tensor.dims):
        raise ConfigMismatchError(
            f"output {tensor.name!r} has shape {list(answer.shape)}, declared is {tensor.dims}"
        )


def _limit(seconds: int, memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


if __name__ == "__main__":
    _limit(int(sys.argv[3]), int(sys.argv[4]))
    try:
        answer = json.dumps(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
    except Exception as error:  # noqa: BLE001 - whatever it is, the version is refused for it
        sys.exit(str(error).replace("\n", " ") or type(error).__name__)
    sys.stdout.write(answer)
