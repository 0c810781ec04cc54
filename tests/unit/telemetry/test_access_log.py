from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from service.errors import ConfigurationError
from service.protocol.span import Span, continued
from service.settings import TelemetrySettings
from service.telemetry import Access, AccessLog, Telemetry
from service.telemetry.access_log import line

WRITER = """
import sys
from service.settings import TelemetrySettings
from service.telemetry import Access, AccessLog

log = AccessLog(TelemetrySettings(access_log=sys.argv[1]), lost=print)
log.start()
for number in range(2000):
    log.write(
        Access(protocol="http", verb="v" * (number % 120), code="200", seconds=0.1,
               request_id=f"{sys.argv[2]}-{number}", peer="", model="m" * (number % 100)),
        failed=False,
    )
log.stop()
"""


def none_may_be(lost: int) -> None:
    pytest.fail(f"{lost} lines are lost")


def access(**more: Any) -> Access:
    """A request that was answered."""
    known: dict[str, Any] = {
        "protocol": "http",
        "verb": "POST /v2/models/m/infer",
        "code": "200",
        "seconds": 0.0123456789,
        "request_id": "r-1",
        "peer": "192.0.2.7:4321",
    }
    return Access(**known | more)


def test_a_line_tells_who_asked_what_and_how_it_ended() -> None:
    """With the wait and the rows where the batcher told them."""
    span = continued(f"00-{1:032x}-{2:016x}-01")
    assert span is not None
    span.queued, span.rows, span.batch_rows = 0.0025, 2, 7
    written = line(
        access(model="m", version="3", request_bytes=10, response_bytes=20, span=span),
        now=1700000000.123,
    )
    assert written.endswith(b"}\n")
    assert json.loads(written) == {
        "time": "2023-11-14T22:13:20.123Z",
        "request": "r-1",
        "protocol": "http",
        "verb": "POST /v2/models/m/infer",
        "code": "200",
        "seconds": 0.012346,
        "request_bytes": 10,
        "response_bytes": 20,
        "peer": "192.0.2.7:4321",
        "model": "m",
        "version": "3",
        "trace": f"{1:032x}",
        "span": span.id,
        "queue_seconds": 0.0025,
        "rows": 2,
        "batch_rows": 7,
    }
    found = json.loads(line(access(span=Span()), now=1700000000))
    assert datetime.fromisoformat(found["time"])
    assert not {"model", "trace", "span", "queue_seconds", "rows"} & set(found)


@pytest.mark.parametrize(
    "hostile",
    ['"}\n{"time":"forged"}', "\r\n", "\x00\x1b[2J\x7f", "\x85\u2028\u2029", "\U0001f600" * 5000],
)
def test_what_a_client_chose_can_neither_end_a_line_nor_begin_one(hostile: str) -> None:
    """One line of printable ASCII, short enough to be written whole, and still JSON."""
    given = dict.fromkeys(("model", "version", "verb"), hostile)
    written = line(access(**given, request_id='"' * 128, peer="x" * 5000), now=0)
    assert written.count(b"\n") == 1
    assert len(written) <= 4096
    assert all(0x20 <= octet < 0x7F for octet in written[:-1])
    assert json.loads(written)["model"] == hostile[:100]


def test_lines_of_several_workers_never_mix(tmp_path: Path) -> None:
    """Neither in a file nor in a pipe; each one is there, once."""
    target = tmp_path / "access"
    for where in (str(target), "stdout"):
        reading, writing = os.pipe()
        processes = [
            subprocess.Popen([sys.executable, "-c", WRITER, where, str(n)], stdout=writing)
            for n in range(3)
        ]
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            piped = pipe.read()
        assert [process.wait() for process in processes] == [0] * 3
        found = [json.loads(each) for each in (piped or target.read_bytes()).splitlines()]
        names = {f"{worker}-{number}" for worker in range(3) for number in range(2000)}
        assert len(found) == len(names)
        assert {each["request"] for each in found} == names


def test_a_reader_that_does_not_read_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines over the bound are lost, and counted."""
    reading, writing = os.pipe()
    monkeypatch.setattr("service.telemetry.access_log._STREAMS", {"stdout": writing})
    lost: list[int] = []
    log = AccessLog(TelemetrySettings(access_log="stdout"), lost.append)
    log.start()
    for _ in range(20_000):
        log.write(access(), failed=False)
    assert 0 < sum(lost) < 20_000

    read = bytearray()

    def drain() -> None:
        while part := os.read(reading, 1 << 16):
            read.extend(part)

    reader = threading.Thread(target=drain)
    reader.start()
    log.stop()
    os.close(writing)
    reader.join()
    os.close(reading)
    assert len(read.splitlines()) == 20_000 - sum(lost)


def test_what_failed_is_logged_whatever_the_share(tmp_path: Path) -> None:
    """Of the rest, so much of it."""
    for share, logged in ((0.0, range(1)), (0.5, range(300, 700)), (1.0, range(1000, 1001))):
        target = tmp_path / f"access-{share}"
        chosen = TelemetrySettings(access_log=str(target), access_log_share=share)
        log = AccessLog(chosen, lost=none_may_be)
        log.start()
        for number in range(1000):
            log.write(access(), failed=False)
            if number % 100 == 0:
                log.write(access(code="429"), failed=True)
        log.stop()
        codes = [json.loads(each)["code"] for each in target.read_bytes().splitlines()]
        assert codes.count("429") == 10
        assert codes.count("200") in logged


def test_a_file_may_be_moved_away(tmp_path: Path) -> None:
    """What follows goes into a new one; both are the owner's alone."""
    target = tmp_path / "access"
    log = AccessLog(TelemetrySettings(access_log=str(target)), lost=none_may_be)
    log.start()
    log.write(access(request_id="one"), failed=False)
    while not (target.exists() and target.stat().st_size):
        pass
    target.rename(tmp_path / "old")
    log.write(access(request_id="two"), failed=False)
    log.stop()
    assert b"one" in (tmp_path / "old").read_bytes()
    assert b"two" in target.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    """A folder that is not there, a folder, a pipe that nobody may ever read."""
    os.mkfifo(tmp_path / "fifo")
    for target in (tmp_path / "none" / "access", tmp_path, tmp_path / "fifo"):
        log = AccessLog(TelemetrySettings(access_log=str(target)), lost=none_may_be)
        with pytest.raises(ConfigurationError, match=r"telemetry\.access_log: .*"):
            log.start()
        log.stop()


def test_lines_that_can_no_longer_be_written_are_counted(tmp_path: Path) -> None:
    """The requests are answered all the same."""
    target = tmp_path / "access"
    telemetry = Telemetry(TelemetrySettings(access_log=str(target)))
    assert telemetry.access_log is not None
    telemetry.start()
    target.unlink()
    target.mkdir()
    for _ in range(3):
        telemetry.access_log.write(access(), failed=False)
    telemetry.stop()
    assert b"lupine_access_log_lost_total 3.0" in telemetry.exposition()


def test_by_default_there_is_none() -> None:
    """And a request without a trace has no span."""
    telemetry = Telemetry(TelemetrySettings())
    assert telemetry.access_log is None
    assert telemetry.span(None) is None
    telemetry.start()
    telemetry.stop()
