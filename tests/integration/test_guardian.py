"""The guardian and a real tritonserver, with everything above and below it killed once."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from service.errors import ConfigurationError
from service.repository.ledger import Ledger
from service.runner import endpoint, record
from service.runner.endpoint import Endpoint
from service.runner.guardian import LOCK, is_guarded
from service.runner.keeper import Keeper, Timing, Wiring
from service.runner.log import Output
from service.runner.process_group import ProcessGroup
from service.runner.record import Record
from service.runner.runtime import Runtime
from service.runner.tritonserver import Ports
from tests import graphs
from tests.requires import require_triton_runtime

pytestmark = pytest.mark.triton

_PROCESSES = Path(__file__).parents[1] / "runner_processes.py"
_TRITON = (sys.executable, "-c", "from service.cli import main; main()", "triton")
_SHM = Path("/dev/shm")  # noqa: S108 - where the kernel keeps it
_PROMPT_SECONDS = 30.0

Process = subprocess.Popen[str]


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    """The managed runtime; skips by name without it."""
    return require_triton_runtime()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, `same` and `other`, that answer what they are asked."""
    folder = tmp_path_factory.mktemp("repository")
    for model in ("same", "other"):
        version = folder / model / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(graphs.identity())
        (version.parent / "config.pbtxt").write_text('backend: "onnxruntime"\nmax_batch_size: 0\n')
    return folder


@dataclass
class Gateway:
    """A supervisor's processes, and what they left in their folder."""

    run_dir: Path
    repository: Path
    runtime: Runtime
    log: Path
    processes: list[Process] = field(default_factory=list)

    def start(self, role: str, *arguments: object) -> Process:
        """Start a process of ours. It is ready, or has said why not."""
        command = [sys.executable, str(_PROCESSES), role, str(self.run_dir), *map(str, arguments)]
        seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("a") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True
            )
        self.processes.append(process)
        eventually(
            lambda: process.poll() is not None or "\nready" in "\n" + self.text()[seen:],
            "it is ready",
        )
        return process

    def supervise(self) -> Process:
        """Start a supervisor."""
        return self.start("supervisor", self.repository, self.runtime.directory)

    def text(self) -> str:
        """What all of them have said."""
        return self.log.read_text(errors="replace")

    def guardian(self) -> int:
        """The process id of the guardian that is at work."""
        assert is_guarded(self.run_dir)
        return int((self.run_dir / LOCK).read_text())

    def endpoint(self) -> Endpoint:
        """The server that is ready."""
        found = endpoint.read(self.run_dir)
        assert found is not None
        return found

    def after(self, epoch: int) -> Endpoint:
        """The first server that is ready after an earlier one."""

        def is_newer() -> bool:
            found = endpoint.read(self.run_dir)
            return found is not None and found.epoch > epoch

        eventually(is_newer, f"a server after epoch {epoch} is ready")
        return self.endpoint()


@pytest.fixture
def gateway(tmp_path: Path, repository: Path, runtime: Runtime) -> Iterator[Gateway]:
    """A gateway's folder; whatever is started in it is gone after the test."""
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    made = Gateway(run_dir, repository, runtime, tmp_path / "log")
    yield made
    last = record.read(run_dir)
    for process in made.processes:
        process.kill()
        process.wait()
    if last is None:
        return  # the test has seen the end itself
    if is_guarded(run_dir):  # then the number in the file is its own
        os.kill(made.guardian(), signal.SIGKILL)  # quicker than a stop in peace
    eventually(lambda: nothing_is_left(last), "nothing is left")


def eventually(is_so: Callable[[], bool], what: str, patience: float = _PROMPT_SECONDS) -> float:
    """Wait until it is so. Returns the seconds that took."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < patience, f"not within {patience} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def nothing_is_left(last: Record) -> bool:
    """Whether a server, its stubs and their shared memory are gone."""
    return not ProcessGroup(last.pid, last.started).members() and not list(
        _SHM.glob(f"{last.shm_prefix}*")
    )


def recorded(gateway: Gateway) -> Record:
    """The server that was started last, which runs with its stubs and their memory."""
    last = record.read(gateway.run_dir)
    assert last is not None
    assert len(ProcessGroup(last.pid, last.started).members()) > 1
    assert list(_SHM.glob(f"{last.shm_prefix}*"))
    return last


def answer(server: Endpoint, model: str = "same") -> list[float]:
    """What the model says to 1, 2, 3."""
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    reply = httpx.post(
        f"http://{server.http}/v2/models/{model}/infer",
        json={"inputs": [tensor]},
        trust_env=False,
        timeout=_PROMPT_SECONDS,
    )
    reply.raise_for_status()
    data: list[float] = reply.json()["outputs"][0]["data"]
    return data


def test_a_killed_tritonserver_comes_back(gateway: Gateway) -> None:
    """SIGKILL: a new server answers the same; what somebody unloaded stays unloaded."""
    gateway.supervise()
    first, last = gateway.endpoint(), recorded(gateway)
    ledger = Ledger(gateway.run_dir)
    ledger.record("other", loaded=False)
    generation = ledger.current()
    assert answer(first) == [1, 2, 3]
    os.kill(first.pid, signal.SIGKILL)
    second = gateway.after(first.epoch)
    assert answer(second) == [1, 2, 3]
    assert second.epoch == first.epoch + 1
    assert nothing_is_left(last)
    with pytest.raises(httpx.HTTPStatusError):
        answer(second, "other")
    eventually(lambda: ledger.current() != generation, "a new generation")
    ledger.close()


def test_a_killed_guardian_is_replaced(gateway: Gateway) -> None:
    """SIGKILL: its tritonserver dies with it, and another guardian serves."""
    gateway.supervise()
    first, last, guardian = gateway.endpoint(), recorded(gateway), gateway.guardian()
    os.kill(guardian, signal.SIGKILL)
    second = gateway.after(first.epoch)
    assert answer(second) == [1, 2, 3]
    assert nothing_is_left(last)
    assert gateway.guardian() != guardian


def test_signals_do_not_end_a_guardian(gateway: Gateway) -> None:
    """SIGINT and SIGTERM, which come to every child at once, change nothing."""
    gateway.supervise()
    before, guardian = gateway.endpoint(), gateway.guardian()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(guardian, number)
        time.sleep(0.3)
    assert answer(before) == [1, 2, 3]
    assert gateway.endpoint() == before


def test_a_killed_supervisor_leaves_nothing(gateway: Gateway) -> None:
    """SIGKILL: tritonserver serves until the last worker has drained; then nothing is left."""
    supervisor = gateway.supervise()
    worker = gateway.start("worker", 1.5)
    server, last = gateway.endpoint(), recorded(gateway)
    guardian = ProcessGroup.led_by(gateway.guardian())
    assert guardian.members()
    supervisor.kill()
    supervisor.wait()
    eventually(lambda: "draining" in gateway.text(), "the worker knows")
    time.sleep(0.7)
    assert worker.poll() is None
    assert answer(server) == [1, 2, 3]
    eventually(lambda: not gateway.run_dir.exists(), "the run folder is removed")
    assert worker.wait() == 0
    assert nothing_is_left(last)
    eventually(lambda: not guardian.members(), "the guardian is gone")


def test_a_killed_worker_is_not_waited_for(gateway: Gateway) -> None:
    """A worker that was killed holds nothing up."""
    supervisor = gateway.supervise()
    worker = gateway.start("worker", 60)
    last = recorded(gateway)
    worker.kill()
    supervisor.kill()
    supervisor.wait()
    eventually(lambda: not gateway.run_dir.exists(), "the run folder is removed")
    assert nothing_is_left(last)


def test_a_supervisor_that_ends_in_peace_is_the_last(gateway: Gateway) -> None:
    """When the supervisor has ended, tritonserver and the run folder are gone already."""
    supervisor = gateway.supervise()
    last = recorded(gateway)
    supervisor.terminate()
    assert supervisor.wait() == 0
    assert nothing_is_left(last)
    assert not gateway.run_dir.exists()


def test_everything_killed_at_once_leaves_nothing(gateway: Gateway) -> None:
    """With nobody left to tidy up, the kernel ends tritonserver and its stubs end themselves."""
    supervisor = gateway.supervise()
    last, guardian = recorded(gateway), gateway.guardian()
    supervisor.kill()
    os.kill(guardian, signal.SIGKILL)
    supervisor.wait()
    eventually(lambda: nothing_is_left(last), "nothing is left")


def test_a_run_folder_serves_one_gateway(gateway: Gateway) -> None:
    """A second supervisor in the same folder is refused, and the first goes on."""
    gateway.supervise()
    second = gateway.start("supervisor", gateway.repository, gateway.runtime.directory)
    assert second.wait() == 1
    assert "another gateway uses the run folder" in gateway.text()
    assert answer(gateway.endpoint()) == [1, 2, 3]


def test_a_supervisor_is_told_why_there_is_no_server(gateway: Gateway, tmp_path: Path) -> None:
    """Without a runtime the start fails with the reason, and no guardian stays."""
    refused = gateway.start("supervisor", gateway.repository, tmp_path)
    assert refused.wait() == 1
    assert "cannot start: the managed Triton does not start: no runtime is built" in gateway.text()


def keeper(run_dir: Path, repository: Path, runtime: Runtime, timing: Timing) -> Keeper:
    """A keeper in this process, which loads `same`."""

    def models_to_load() -> list[str]:
        return [folder.name for folder in repository.iterdir() if folder.name == "same"]

    return Keeper(
        run_dir,
        repository,
        runtime,
        wiring=Wiring(ports=Ports.free, models_to_load=models_to_load, on_ready=lambda: None),
        output=Output(1),
        timing=timing,
    )


# Only this process has other threads; between fork and exec ours calls nothing that locks.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_server_that_hangs_is_replaced(
    tmp_path: Path, repository: Path, runtime: Runtime
) -> None:
    """Stopped with SIGSTOP it answers no health check: it is killed, and another one serves."""
    timing = Timing(probe_every=0.1, probe=0.3, probe_failures=3)
    kept = keeper(tmp_path, repository, runtime, timing)
    running = asyncio.ensure_future(kept.run())

    async def after(epoch: int) -> Endpoint:
        async with asyncio.timeout(_PROMPT_SECONDS):
            while True:
                found = endpoint.read(tmp_path)
                if found is not None and found.epoch > epoch:
                    return found
                await asyncio.sleep(0.02)

    first = await after(0)
    last = record.read(tmp_path)
    assert last is not None
    os.kill(first.pid, signal.SIGSTOP)
    second = await after(first.epoch)
    assert await asyncio.to_thread(answer, second) == [1, 2, 3]
    assert nothing_is_left(last)
    kept.hurry()
    await running
    assert endpoint.read(tmp_path) is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_starts_that_fail_are_given_up(tmp_path: Path, runtime: Runtime) -> None:
    """Where no first start succeeds the reason is raised, with the number of attempts."""
    with pytest.raises(ConfigurationError, match=r"absent.*failed: 3"):
        await keeper(tmp_path, tmp_path / "absent", runtime, Timing()).run()


def test_the_foreground_stops_at_a_signal(
    tmp_path: Path, repository: Path, runtime: Runtime
) -> None:
    """`lupine triton` serves on the ports it was given, and leaves nothing after SIGTERM."""
    ports = Ports.free()
    arguments = ["--http-port", ports.http, "--grpc-port", ports.grpc]
    arguments += ["--metrics-port", ports.metrics, "--repository", repository]
    process = subprocess.Popen(
        [*_TRITON, *map(str, arguments)],
        env=os.environ
        | {"TMPDIR": str(tmp_path), "LUPINE_TRITON__RUNTIME": str(runtime.directory)},
    )
    try:
        eventually(lambda: bool(list(tmp_path.glob("*/triton.json"))), "it is ready")
        (run_dir,) = tmp_path.glob("lupine-triton-*")
        server, last = endpoint.read(run_dir), record.read(run_dir)
        assert server is not None
        assert last is not None
        assert server.grpc == f"127.0.0.1:{ports.grpc}"
        assert answer(server) == answer(server, "other") == [1, 2, 3]
        process.terminate()
        assert process.wait(_PROMPT_SECONDS) == 0
        assert nothing_is_left(last)
        assert not list(tmp_path.iterdir())
    finally:
        process.kill()
        process.wait()


def test_a_port_that_is_taken_is_named(repository: Path, runtime: Runtime) -> None:
    """`lupine triton` on a port with a listener exits non-zero and names it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        done = subprocess.run(
            [*_TRITON, "--grpc-port", port, "--repository", str(repository)],
            env=os.environ | {"LUPINE_TRITON__RUNTIME": str(runtime.directory)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    assert port in done.stderr
