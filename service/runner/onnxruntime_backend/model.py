# ruff: noqa: INP001 - Triton imports these files from a flat folder; they are no package
"""Triton's `onnxruntime` backend, in Python: what tritonserver's stub imports.

It runs in the managed runtime's environment, under NumPy 1, one process for each model instance.
`service.runner.runtime.assemble_backends` lays it out with what it imports of `service`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # where it stands decides, not where Triton runs

import numpy as np
import triton_python_backend_utils as pb_utils
from ort_batches import Arrays, Job, answer

from service.repository import completion, session


class TritonPythonModel:
    """One instance of one version of an ONNX model."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Complete the configuration from the graph, where it leaves something out."""
        config = auto_complete_model_config.as_dict()
        try:
            session.refuse_unsupported(config)
            if completion.needs_completion(config):
                path = session.model_file(_version_folder(config), config)
                completed = completion.complete(
                    config,
                    session.read_graph(path),
                    default_max_batch_size=_default_max_batch_size(),
                )
                # Its setters know no `reshape`; the dictionary is what goes back to the server.
                config.update(completed)
        except (completion.ConfigMismatchError, session.RefusedError) as error:
            raise pb_utils.TritonModelException(session.explained(config, error)) from None
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Open the session and hold the configuration against its graph."""
        config = json.loads(args["model_config"])
        version = Path(args["model_repository"], args["model_version"])
        try:
            session.refuse_unsupported(config)
            path = session.model_file(version, config)
            self._session = session.open_session(path, config)
            graph = session.graph_of(self._session)
            completion.check(config, graph)
        except (completion.ConfigMismatchError, session.RefusedError) as error:
            raise pb_utils.TritonModelException(session.explained(config, error)) from None
        if args["model_instance_kind"] == "GPU":
            pb_utils.Logger.log_warn(
                f"{args['model_instance_name']}: this ONNX Runtime computes on the CPU only"
            )
        self._run_options = session.run_options(config)
        self._batching = int(config["max_batch_size"]) > 0
        self._scalars = {t.name for t in (*graph.inputs, *graph.initializers) if not t.dims}
        self._strings = {t.name for t in graph.outputs if t.type == "tensor(string)"}
        self._scalar_dims = {
            output["name"]: [int(dim) for dim in output["dims"]]
            for output in config["output"]
            if not self._batching
        }

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer all requests, each with its outputs or its own error."""
        jobs = {}
        responses: list[Any] = [None] * len(requests)
        for i, request in enumerate(requests):
            try:
                jobs[i] = self._job(request)
            except ValueError as error:
                responses[i] = _failure(str(error), pb_utils.TritonError.INVALID_ARG)
        found = answer(list(jobs.values()), self._run, batching=self._batching)
        for i, outputs in zip(jobs, found, strict=True):
            if isinstance(outputs, Exception):
                responses[i] = _failure(f"ONNX Runtime failed on this request: {outputs}")
            else:
                responses[i] = self._response(outputs)
        return responses

    def finalize(self) -> None:
        """Let the session and its memory go."""
        self._session = None
        gc.collect()

    def _job(self, request: Any) -> Job:
        inputs = {}
        for tensor in request.inputs():
            array = tensor.as_numpy()
            if array.dtype == np.object_:
                array = session.to_texts(tensor.name(), array)
            inputs[tensor.name()] = array.reshape(()) if tensor.name() in self._scalars else array
        return Job(inputs, tuple(request.requested_output_names()))

    def _run(self, outputs: Sequence[str], inputs: Arrays) -> Arrays:
        names = list(outputs)
        return dict(
            zip(names, self._session.run(names, dict(inputs), self._run_options), strict=True)
        )

    def _response(self, outputs: Arrays) -> Any:
        tensors = []
        for name, found in outputs.items():
            array = found
            if name in self._strings:
                array = session.to_bytes(found)
            if array.ndim == 0:  # Triton has no scalars: their dims are ones
                array = array.reshape(self._scalar_dims.get(name, [1]))
            tensors.append(pb_utils.Tensor(name, array))
        return pb_utils.InferenceResponse(tensors)


def _failure(message: str, code: int | None = None) -> Any:
    error = pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL if code is None else code)
    return pb_utils.InferenceResponse([], error)


def _version_folder(config: dict[str, Any]) -> Path:
    """The folder of the version that is being loaded, which completion is not told.

    The server starts the stub with the path of the model file as its first argument.
    """
    arguments = Path("/proc/self/cmdline").read_text().split("\0")
    artifact = Path(arguments[1])
    named = Path(config.get("default_model_filename") or "model.onnx")
    return artifact.parents[len(named.parts) - 1]


def _default_max_batch_size() -> int:
    """The server's default: for this backend, else for all, else Triton's own."""
    arguments = Path(f"/proc/{os.getppid()}/cmdline").read_text().split("\0")
    settings = {}
    for before, argument in pairwise(["", *arguments]):
        text = argument.removeprefix("--backend-config=")
        if text != argument or before == "--backend-config":
            key, _, value = text.rpartition("=")
            settings[key] = value
    for key in ("onnxruntime,default-max-batch-size", "default-max-batch-size"):
        if key in settings:
            return int(settings[key])
    return completion.DEFAULT_MAX_BATCH_SIZE
