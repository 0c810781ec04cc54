"""Callers of a model that says which version it is, and what each of their answers was."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import numpy as np
import tritonclient.grpc as triton

from benchmarks.harness.gateway import Running


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: when it was asked for and came, the version that made it, and what was wrong."""

    sent: float
    came: float
    version: str
    fault: str = ""


@dataclass
class Callers:
    """Half of them over HTTP, half over gRPC; each asks when the last answer has come.

    Args:
        running: the gateway.
        model: of `adding`, whose version n adds n.
        count: of callers; even.
    """

    running: Running
    model: str
    count: int
    answers: list[Answer] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """All of them, until the block ends."""
        targets = [self._over_http, self._over_grpc] * (self.count // 2)
        threads = [threading.Thread(target=target) for target in targets]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.ended.set()
            for thread in threads:
                thread.join()

    def _over_http(self) -> None:
        x = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0.0]}
        with httpx.Client(base_url=self.running.url, timeout=30, trust_env=False) as client:
            while not self.ended.is_set():
                sent = time.monotonic()
                answer = client.post(f"/v2/models/{self.model}/infer", json={"inputs": [x]})
                if answer.is_success:
                    found = answer.json()
                    self._note(sent, found["model_version"], found["outputs"][0]["data"][0])
                else:
                    self.answers.append(Answer(sent, time.monotonic(), "", answer.text[:300]))

    def _over_grpc(self) -> None:
        tensor = triton.InferInput("x", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 1), np.float32))
        with triton.InferenceServerClient(self.running.grpc_url) as client:
            while not self.ended.is_set():
                sent = time.monotonic()
                try:
                    answer = client.infer(self.model, [tensor], client_timeout=30)
                except triton.InferenceServerException as error:
                    self.answers.append(Answer(sent, time.monotonic(), "", str(error)[:300]))
                    continue
                version = answer.get_response().model_version
                self._note(sent, version, float(answer.as_numpy("y")[0, 0]))

    def _note(self, sent: float, version: str, value: float) -> None:
        right = value == float(version)  # version n adds n
        fault = "" if right else f"version {version} answered {value}"
        self.answers.append(Answer(sent, time.monotonic(), version, fault))
