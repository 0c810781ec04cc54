"""A client that leaves: its request is not computed any further, whatever the engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.serving import Serving, serving, settings
from tests.triton_server import running_triton

ENDLESS = 2_000_000_000  # steps of `slow`; and milliseconds that nobody waits


def slow(steps: int) -> Any:
    """A request for `slow`, whose runs take about as long on every engine."""
    message = service_pb2.ModelInferRequest(model_name="slow")
    message.inputs.add(name="steps", datatype="INT64", shape=[1])
    message.raw_input_contents.append(np.array([steps], np.int64).tobytes())
    if steps == ENDLESS:
        message.parameters["echo.latency_ms"].int64_param = 60_000
    return message


@pytest.mark.parametrize("engine", ["echo", "onnx"])
@pytest.mark.parametrize("how", ["cancel", "deadline", "stream", "http"])
def test_a_run_that_nobody_waits_for_is_ended(
    repository: Path, tmp_path: Path, engine: str, how: str
) -> None:
    """With one thread to run in, the next request is answered at once: the engine was told."""
    chosen = settings(repository, engine, engine={"kind": engine, "threads": 1})
    with (
        serving(chosen, tmp_path) as gateway,
        grpc.insecure_channel(gateway.grpc_address) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        leave(how, gateway, stub)
        begun = time.monotonic()
        stub.ModelInfer(slow(1), timeout=20)
        assert time.monotonic() - begun < 5
        assert gateway.gateway.dataplane.inflight == 0


def leave(how: str, gateway: Serving, stub: Any) -> None:
    """Ask for what never ends, and leave in one of the ways there are."""
    if how == "cancel":
        call = stub.ModelInfer.future(slow(ENDLESS))
        await_inflight(gateway)
        call.cancel()
    elif how == "deadline":
        with pytest.raises(grpc.RpcError) as late:
            stub.ModelInfer(slow(ENDLESS), timeout=0.3)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    elif how == "stream":
        stream = stub.ModelStreamInfer(iter([slow(ENDLESS)]))
        await_inflight(gateway)
        stream.cancel()
    else:
        item = {"name": "steps", "datatype": "INT64", "shape": [1], "data": [ENDLESS]}
        request = {"inputs": [item], "parameters": {"echo.latency_ms": 60_000}}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{gateway.url}/v2/models/slow/infer", json=request, timeout=0.3)


def await_inflight(gateway: Serving) -> None:
    """Until the data plane has let it in, and a moment more for the engine."""
    end = time.monotonic() + 10
    while not gateway.gateway.dataplane.inflight:
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.2)


_PATIENT = '''
import pathlib
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Waits until it is told that nobody waits for it, and leaves a word of that."""

    def execute(self, requests):
        word = pathlib.Path(__file__).parents[2] / "told"
        for request in requests:
            for _ in range(1000):
                if request.is_cancelled():
                    word.touch()
                    break
                time.sleep(0.02)
        y = pb_utils.Tensor("y", np.zeros(1, np.float32))
        return [pb_utils.InferenceResponse(output_tensors=[y]) for _ in requests]
'''


@pytest.mark.triton
def test_triton_is_told_that_a_client_has_left(tmp_path: Path) -> None:
    """And hands it on to the model, which can stop."""
    model = tmp_path / "models" / "patient"
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.py").write_text(_PATIENT)
    (model / "config.pbtxt").write_text(
        'backend: "python" input { name: "x" data_type: TYPE_FP32 dims: 1 }'
        'output { name: "y" data_type: TYPE_FP32 dims: 1 }'
    )
    (tmp_path / "run").mkdir()
    message = service_pb2.ModelInferRequest(model_name="patient", raw_input_contents=[bytes(4)])
    message.inputs.add(name="x", datatype="FP32", shape=[1])
    with running_triton(
        tmp_path / "models", scratch=tmp_path / "server", load_models=["*"]
    ) as triton:
        chosen = settings(tmp_path / "models", "triton", triton={"url": triton.grpc})
        with (
            serving(chosen, tmp_path / "run") as gateway,
            grpc.insecure_channel(gateway.grpc_address) as channel,
        ):
            call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(message)
            await_inflight(gateway)
            assert not (tmp_path / "models" / "told").exists()
            call.cancel()
            end = time.monotonic() + 5
            while not (tmp_path / "models" / "told").exists():
                assert time.monotonic() < end, "Triton's model was not told"
                time.sleep(0.02)
