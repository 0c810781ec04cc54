"""Shared memory to a real tritonserver: right values, and nothing left whoever is killed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from onnx import TensorProto, parser

from benchmarks.harness.gateway import Running, gateway
from service.runner import endpoint
from service.runner.endpoint import Endpoint
from service.settings import Settings
from service.wires import slot_file
from tests import graphs
from tests.lives import lives
from tests.requires import require_triton_runtime
from tests.serving import Serving, serving, settings
from tests.slots import files
from tests.triton_server import RunningTriton, running_triton

pytestmark = pytest.mark.triton

_TYPES: Mapping[str, tuple[int, Any]] = {
    "bool": (TensorProto.BOOL, np.bool_),
    "uint8": (TensorProto.UINT8, np.uint8),
    "int16": (TensorProto.INT16, np.int16),
    "int64": (TensorProto.INT64, np.int64),
    "fp16": (TensorProto.FLOAT16, np.float16),
    "fp32": (TensorProto.FLOAT, np.float32),
    "fp64": (TensorProto.DOUBLE, np.float64),
}
_SLOW_STEPS = 3_000_000  # about a microsecond each


def _slow_mean() -> bytes:
    """Counts `steps`, and gives the mean of `x`: its input is needed to the end."""
    model = parser.parse_model(
        """<ir_version: 9, opset_import: ["": 17]>
           graph (int64[1] steps, float[k] x) => (int64[1] done, float[1] mean) {
             yes = Constant <value = bool {1}> ()
             zero = Constant <value = int64[1] {0}> ()
             done = Loop (steps, yes, zero) <body = body (int64 i, bool c, int64[1] n)
                    => (bool go, int64[1] next) {
               go = Identity (c)
               one = Constant <value = int64[1] {1}> ()
               next = Add (n, one)
             }>
             mean = ReduceMean <keepdims = 1> (x)
           }"""
    )
    serialized: bytes = model.SerializeToString()
    return serialized


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that gives back what it gets for each of some datatypes, and a slow one."""
    folder = tmp_path_factory.mktemp("repository")

    def put(name: str, graph: bytes, config: str) -> None:
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "model.onnx").write_bytes(graph)
        (folder / name / "config.pbtxt").write_text(f'backend: "onnxruntime"\n{config}\n')

    for name, (element, _) in _TYPES.items():
        put(name, graphs.identity(element, ("n", "k")), "max_batch_size: 8")
    put("slow", _slow_mean(), "max_batch_size: 0")
    return folder


@pytest.fixture(scope="module")
def triton(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    """With all models."""
    scratch = tmp_path_factory.mktemp("triton")
    with running_triton(repository, scratch=scratch, load_models=["*"]) as running:
        yield running


@pytest.fixture
def worker(triton: RunningTriton, tmp_path: Path) -> Iterator[Serving]:
    """A worker in this process that takes the server for its own guardian's; it leaves nothing."""
    gateway_id = slot_file.gateway_id(tmp_path)
    with serving(_sharing(triton, tmp_path, {}), tmp_path) as started:
        yield started
    assert not slots(gateway_id)


def _sharing(server: RunningTriton, run_dir: Path, section: Mapping[str, str]) -> Settings:
    found = Endpoint(grpc=server.grpc, http=server.http, metrics="", pid=0, epoch=1)
    endpoint.write(run_dir, found)
    return settings(run_dir, "triton", triton=section)


def slots(gateway_id: str) -> set[str]:
    """The names of what a gateway has in shared memory."""
    return {path.name for path in files(gateway_id)}


def eventually(is_so: Callable[[], bool], what: str, patience: float = 60.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < deadline, f"not within {patience} s: {what}"
        time.sleep(0.02)


def echoed(url: str, model: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a model gives back, over HTTP and binary both ways."""
    datatype = "BOOL" if x.dtype == np.bool_ else model.upper()
    inputs = [_described("x", datatype, x)]
    answer = _asked(url, model, {"inputs": inputs, "outputs": [_binary("y")]}, x.tobytes())
    assert answer.status_code == 200, answer.text
    split = int(answer.headers["inference-header-content-length"])
    return np.frombuffer(answer.content[split:], x.dtype).reshape(x.shape)


def slow(url: str, steps: int = _SLOW_STEPS, patience: float = 60.0) -> httpx.Response:
    """The answer to a run that takes long and has a large input."""
    x, count = np.ones(1 << 18, np.float32), np.array([steps], np.int64)
    inputs = [_described("steps", "INT64", count), _described("x", "FP32", x)]
    return _asked(url, "slow", {"inputs": inputs}, count.tobytes() + x.tobytes(), patience)


def _asked(
    url: str, model: str, message: Any, data: bytes, patience: float = 60.0
) -> httpx.Response:
    header = json.dumps(message).encode()
    headers = {
        "Inference-Header-Content-Length": str(len(header)),
        "X-Request-Timeout-Ms": "120000",  # slow runs wait for one another
    }
    return httpx.post(
        f"{url}/v2/models/{model}/infer", content=header + data, headers=headers, timeout=patience
    )


def _described(name: str, datatype: str, x: np.ndarray[Any, Any]) -> dict[str, Any]:
    size = {"binary_data_size": x.nbytes}
    return {"name": name, "datatype": datatype, "shape": list(x.shape), "parameters": size}


def _binary(name: str) -> dict[str, Any]:
    return {"name": name, "parameters": {"binary_data": True}}


def shared_runs(url: str) -> float:
    """How many runs have gone through shared memory."""
    page = httpx.get(f"{url}/metrics", timeout=20).text
    found = re.search(r"^lupine_shared_memory_runs_total (\S+)", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def own_runs(worker: Serving) -> float:
    """The same of a worker in this process."""
    page = worker.gateway.telemetry.exposition().decode()
    found = re.search(r"^lupine_shared_memory_runs_total (\S+)", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def regions(triton: RunningTriton) -> dict[str, Any]:
    """What the server knows of shared memory."""
    with tritonclient.grpc.InferenceServerClient(triton.grpc) as client:
        return dict(client.get_system_shared_memory_status().regions)


def numbers(dtype: Any, rows: int, columns: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Of any datatype, of the whole range of a byte."""
    made = np.random.default_rng(seed).integers(0, 127, (rows, columns))
    return (made % 2 == 0) if dtype == np.bool_ else made.astype(dtype)


@pytest.mark.parametrize("model", _TYPES)
def test_values_are_right_in_every_datatype(
    worker: Serving, triton: RunningTriton, model: str
) -> None:
    """In batches of one row and of several, of sizes that change."""
    _, dtype = _TYPES[model]
    columns = 40_001 if np.dtype(dtype).itemsize > 1 else 80_003
    echoed(worker.url, model, numbers(dtype, 8, columns))
    eventually(lambda: bool(regions(triton)), "there is a slot")
    eventually(
        lambda: (
            bool(echoed(worker.url, model, numbers(dtype, 1, columns)).size)
            and own_runs(worker) > 0
        ),
        "a run goes through it",
    )
    before = own_runs(worker)
    for rows in (1, 8, 3):
        x = numbers(dtype, rows, columns, rows)
        np.testing.assert_array_equal(echoed(worker.url, model, x), x)
    assert own_runs(worker) == before + 3


def test_requests_at_the_same_time_keep_their_own_values(worker: Serving) -> None:
    """Merged or not, in one slot or in several."""

    def ask(seed: int) -> bool:
        x = numbers(np.float32, 1 + seed % 3, 60_000, seed)
        return np.array_equal(echoed(worker.url, "fp32", x), x)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(80)))
    assert own_runs(worker) > 5


def test_a_slot_is_kept_while_triton_reads_it(worker: Serving, triton: RunningTriton) -> None:
    """A client that leaves ends its request; its slot ends with the run, and others serve on."""
    eventually(lambda: slow(worker.url, 1).is_success and own_runs(worker) > 0, "a run is shared")
    (name,) = regions(triton)
    with pytest.raises(httpx.ReadTimeout):
        slow(worker.url, patience=0.5)
    with (
        tritonclient.grpc.InferenceServerClient(triton.grpc) as client,
        pytest.raises(tritonclient.grpc.InferenceServerException, match="in use"),
    ):
        client.unregister_system_shared_memory(name)
    x = numbers(np.float32, 2, 60_000)
    np.testing.assert_array_equal(echoed(worker.url, "fp32", x), x)
    assert (slot_file.FOLDER / name).exists()
    eventually(lambda: name not in regions(triton), "Triton has done with it")
    eventually(lambda: not (slot_file.FOLDER / name).exists(), "its file is gone")


def test_it_is_off_where_it_is_set_off(triton: RunningTriton, tmp_path: Path) -> None:
    """And for servers elsewhere, whose memory is not ours."""
    x = numbers(np.float32, 2, 60_000)
    elsewhere = {"url": triton.grpc, "http_url": triton.http}
    for number, section in enumerate(({"shared_memory": "off"}, elsewhere)):
        run_dir = tmp_path / str(number)
        run_dir.mkdir()
        with serving(_sharing(triton, run_dir, section), run_dir) as worker:
            for _ in range(3):
                np.testing.assert_array_equal(echoed(worker.url, "fp32", x), x)
            assert own_runs(worker) == 0
            assert not slots(slot_file.gateway_id(run_dir))


def test_a_clean_stop_leaves_nothing(triton: RunningTriton, tmp_path: Path) -> None:
    """Neither files nor regions."""
    before = regions(triton)
    with serving(_sharing(triton, tmp_path, {}), tmp_path) as worker:
        eventually(lambda: _warm(worker.url).size > 0 and own_runs(worker) > 0, "a run is shared")
        assert regions(triton) != before
    assert regions(triton) == before


def _warm(url: str) -> np.ndarray[Any, Any]:
    return echoed(url, "fp32", numbers(np.float32, 2, 60_000))


@dataclass(frozen=True)
class Served:
    """`lupine serve`, and the id that its slots bear."""

    running: Running
    id: str

    @property
    def url(self) -> str:
        """The base URL."""
        return self.running.url

    def slots(self) -> set[str]:
        """The names of its slots, of dead workers too."""
        return slots(self.id)

    def is_right(self) -> bool:
        """Whether it answers, with the right values."""
        x = numbers(np.float32, 3, 60_000)
        try:
            return np.array_equal(echoed(self.url, "fp32", x), x)
        except (httpx.TransportError, AssertionError):
            return False

    def await_slots(self, workers: int) -> None:
        """Ask until so many workers have slots."""

        def have_slots() -> bool:
            return self.is_right() and len({name.split("-")[3] for name in self.slots()}) >= workers

        eventually(have_slots, f"{workers} workers have slots")

    def begin_slow_runs(self, pool: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
        """Runs that will take seconds, at both workers."""
        asked = [pool.submit(slow, self.url) for _ in range(6)]
        time.sleep(1.0)
        assert not any(future.done() for future in asked)
        return asked


@contextmanager
def served(repository: Path, run_dir: Path, workers: int) -> Iterator[Served]:
    """A gateway whose workers have shared memory with their Triton."""
    require_triton_runtime()
    run_dir.mkdir(mode=0o700)
    gateway_id = slot_file.gateway_id(run_dir)
    flags = ("--engine", "triton", "--workers", str(workers), "--repository", str(repository))
    with gateway(*flags, environment={"LUPINE_RUN_DIR": str(run_dir)}) as running:
        made = Served(running, gateway_id)
        made.await_slots(workers)
        yield made


@pytest.fixture
def pair(repository: Path, tmp_path: Path) -> Iterator[Served]:
    """With two workers; after its stop it has left nothing."""
    with served(repository, tmp_path / "run", 2) as made:
        yield made
    assert not slots(made.id)
    assert not list(slot_file.FOLDER.glob(f"lupine-slot-{made.id}-*"))


def test_triton_killed_in_the_middle_of_runs(pair: Served) -> None:
    """Its successor answers right, through slots of its own; those of the old one are gone."""
    before = pair.slots()
    with ThreadPoolExecutor(6) as pool:
        asked = pair.begin_slow_runs(pool)
        triton = pair.running.tritonserver()
        assert triton is not None
        triton.kill()
        assert {future.result().status_code for future in asked} == {503}
    eventually(pair.is_right, "it answers again")
    shared = shared_runs(pair.url)
    eventually(
        lambda: pair.is_right() and shared_runs(pair.url) > shared, "runs are shared with the new"
    )
    eventually(
        lambda: pair.is_right() and not pair.slots() & before, "the slots of the old are gone"
    )


def mapped(pid: int) -> set[str]:
    """The slots that a process has mapped: by number, since they had no name when it did."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    inodes = {line.split()[4] for line in lines}
    there = slot_file.FOLDER.glob("lupine-slot-*")
    return {path.name for path in there if str(path.stat().st_ino) in inodes}


def test_a_worker_killed_in_the_middle_of_runs(pair: Served) -> None:
    """Its slots are swept once Triton has done with them; the other worker serves on."""
    worker = pair.running.workers()[0]
    with ThreadPoolExecutor(6) as pool:
        asked = pair.begin_slow_runs(pool)
        dead = mapped(worker.pid) & pair.slots()
        assert dead
        worker.kill()
        eventually(pair.is_right, "the others serve on")
        for future in asked:
            if future.exception() is None:
                assert future.result().status_code == 200
    eventually(lambda: not dead & pair.slots(), "its slots are gone")
    assert pair.is_right()
    http = re.findall(r"HTTP (127\.0\.0\.1:\d+)", pair.running.log.read_text())[-1]
    with tritonclient.http.InferenceServerClient(http) as client:
        known = {region["name"] for region in client.get_system_shared_memory_status()}
    assert not dead & known


def test_a_gateway_killed_as_a_whole_is_swept_by_the_next_start(
    repository: Path, tmp_path: Path
) -> None:
    """What it had is gone when another gateway is ready; a third one loses nothing."""
    with served(repository, tmp_path / "bystander", 1) as bystander:
        others = bystander.slots()
        with served(repository, tmp_path / "killed", 1) as killed:
            family = killed.running.family()
            for process in family:
                process.kill()
            killed.running.process.wait()
            eventually(lambda: not any(map(lives, family)), "all are gone")
        with served(repository, tmp_path / "next", 1) as next_one:
            assert not killed.slots()
            assert next_one.is_right()
            assert bystander.slots() >= others
        assert bystander.is_right()
    assert not slots(bystander.id) | slots(next_one.id)
