from __future__ import annotations

from pathlib import Path

from service.runner import endpoint, record
from service.runner.endpoint import Endpoint
from service.runner.record import Record

_READY = Endpoint(grpc="127.0.0.1:1", http="127.0.0.1:2", metrics="127.0.0.1:3", pid=4, epoch=5)


def test_no_server_is_ready(tmp_path: Path) -> None:
    """Before the first server, and without a run folder, there is no endpoint."""
    assert endpoint.read(tmp_path) is None
    assert endpoint.read(tmp_path / "gone") is None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Readers get the server that was published, and nothing else is left in the folder."""
    endpoint.write(tmp_path, _READY)
    assert endpoint.read(tmp_path) == _READY
    assert [path.name for path in tmp_path.iterdir()] == [endpoint.FILE]


def test_a_dead_server_is_taken_back(tmp_path: Path) -> None:
    """After removal there is none, however often it is removed."""
    endpoint.write(tmp_path, _READY)
    endpoint.remove(tmp_path)
    endpoint.remove(tmp_path)
    assert endpoint.read(tmp_path) is None


def test_a_successor_reads_the_record(tmp_path: Path) -> None:
    """What a guardian wrote of its server, the next one reads; removed, there is none."""
    written = Record(pid=1, started=2, shm_prefix="lupine-1-00000000-", epoch=3)
    assert record.read(tmp_path) is None
    record.write(tmp_path, written)
    assert record.read(tmp_path) == written
    record.remove(tmp_path)
    assert record.read(tmp_path) is None
