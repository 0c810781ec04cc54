"""What is shipped, the bento and the image: built, started, asked, and judged by its answers."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import tritonclient.grpc

from benchmarks.harness.gateway import ROOT, free_port, ready
from benchmarks.harness.image import Stage
from benchmarks.harness.namespace import offline
from benchmarks.harness.processes import stop

BENTOML = str(Path(sys.executable).with_name("bentoml"))
_GOLDEN = ROOT / "models" / "golden"
_SCRIPT = b"import os\n\n\ndef main() -> None:\n    print(os.getcwd())\n" * 4
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A gateway out of an artefact, ready.

    Args:
        process: the supervisor.
        port: of HTTP.
        grpc_port: of gRPC.
        seconds: from its start until it was ready.
        log: what it has written.
    """

    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    seconds: float
    log: Path

    @property
    def url(self) -> str:
        """The base URL of HTTP."""
        return f"http://127.0.0.1:{self.port}"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(_STOP_SECONDS)


def build_bento(home: Path, context: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`bentoml build` with no network but loopback.

    Args:
        home: the BENTOML_HOME that the bento goes to.
        context: the project.
    """
    # Neither a `uv` nor a setting of this machine's may help.
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    return subprocess.run(
        offline([BENTOML, "build", "--output", "tag"]),
        cwd=context,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def bento(home: Path) -> Path:
    """The folder of the bento that was built into a BENTOML_HOME last."""
    return home / "bentos" / "lupine" / (home / "bentos" / "lupine" / "latest").read_text().strip()


@contextmanager
def serving_bento(
    what: str, home: Path, folder: Path, environment: Mapping[str, str]
) -> Iterator[Served]:
    """`bentoml serve WHAT` in a folder, until the block ends.

    Args:
        what: a tag in `home`, or a bento's folder.
        home: BENTOML_HOME.
        folder: the working directory.
        environment: settings.
    """
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("LUPINE_")}
    own = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    with _served([BENTOML, "serve", what], inherited | own | dict(environment), folder) as served:
        yield served


@contextmanager
def serving_image(image: Stage, *flags: str, **environment: str) -> Iterator[Served]:
    """The image's ENTRYPOINT as its user, everything read-only, until the block ends."""
    ports = {"LUPINE_SERVER__PORT": free_port(), "LUPINE_SERVER__GRPC_PORT": free_port()}
    chosen = {name: str(port) for name, port in ports.items()} | environment
    command = image.container(chosen).command([*image.entrypoint, *flags])
    with _served(command, os.environ | chosen, Path("/")) as served:
        yield served


@contextmanager
def _served(
    command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Iterator[Served]:
    port = int(environment.get("LUPINE_SERVER__PORT") or free_port())
    grpc_port = int(environment.get("LUPINE_SERVER__GRPC_PORT") or free_port())
    ports = {"LUPINE_SERVER__PORT": str(port), "LUPINE_SERVER__GRPC_PORT": str(grpc_port)}
    with tempfile.TemporaryDirectory(prefix="lupine-artefact-") as scratch:
        log = Path(scratch) / "log"
        begun = time.monotonic()
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environment) | ports,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            while not (b"lupine: ready" in log.read_bytes() and ready(port)):
                if process.poll() is not None or time.monotonic() - begun > _START_SECONDS:
                    raise RuntimeError(
                        f"it did not get ready (exit {process.poll()}):\n{log.read_text()[-4000:]}"
                    )
                time.sleep(0.05)
            yield Served(
                process=process,
                port=port,
                grpc_port=grpc_port,
                seconds=time.monotonic() - begun,
                log=log,
            )
        finally:
            stop(process, _STOP_SECONDS)


def wrong_answers(served: Served) -> list[str]:
    """What it answers wrongly, of everything that the models' golden cases know; empty is right."""
    found = []
    for model in ("digits", "magika"):
        golden = json.loads((_GOLDEN / f"{model}.json").read_text())
        for case in golden["cases"]:
            wanted = case["outputs"][0]["data"]
            answers = {"HTTP": _by_http(served, model, case), "gRPC": _by_grpc(served, model, case)}
            for wire, values in answers.items():
                off = max(
                    (abs(a - b) for a, b in zip(values, wanted, strict=False)), default=math.inf
                )
                if off > golden["tolerance"] or len(values) != len(wanted):
                    found.append(f"{model}, {case['name']}, {wire}: off by {off}")
    told = httpx.post(f"{served.url}/identify", files={"file": _SCRIPT}, timeout=30).json()
    if told.get("label") != "python":
        found.append(f"/identify of a Python script: {told}")
    return found


def _by_http(served: Served, model: str, case: Mapping[str, Any]) -> list[float]:
    answer = httpx.post(
        f"{served.url}/v2/models/{model}/infer", json={"inputs": case["inputs"]}, timeout=30
    )
    if answer.status_code != httpx.codes.OK:
        return []
    data: list[float] = answer.json()["outputs"][0]["data"]
    return data


def _by_grpc(served: Served, model: str, case: Mapping[str, Any]) -> list[float]:
    given = case["inputs"][0]
    kind = {"FP32": np.float32, "INT32": np.int32}[given["datatype"]]
    tensor = tritonclient.grpc.InferInput(given["name"], given["shape"], given["datatype"])
    tensor.set_data_from_numpy(np.array(given["data"], kind).reshape(given["shape"]))
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{served.grpc_port}") as client:
        answer = client.infer(model, [tensor], client_timeout=30)
    values: list[float] = answer.as_numpy(case["outputs"][0]["name"]).ravel().tolist()
    return values
