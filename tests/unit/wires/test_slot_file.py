"""Files in shared memory, each with an owner that the kernel knows to live."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.file_lock import is_held
from service.wires import slot_file
from service.wires.slot_file import Guard, SlotFile, Worker
from tests.slots import files, own_folder

_OWNER = """
import sys, time
from pathlib import Path
from service.wires.slot_file import Guard, SlotFile, Worker
gateway, folder = sys.argv[1], Path(sys.argv[2])
kept = SlotFile.create(Worker(gateway, "0badcafe"), 0, 4096, folder), Guard(gateway, folder)
print("made", flush=True)
time.sleep(60)
"""


GATEWAY = "0123456789ab"


@pytest.fixture
def folder() -> Iterator[Path]:
    """In shared memory; the test leaves nothing in it."""
    with own_folder() as made:
        yield made


def create(folder: Path, number: int = 0, size: int = 1 << 20) -> SlotFile:
    """A slot of a worker in this process."""
    return SlotFile.create(Worker(GATEWAY, "12345678"), number, size, folder)


def kill_an_owner(folder: Path) -> None:
    """Let another process own a slot and the guard, and die of SIGKILL."""
    command = [sys.executable, "-c", _OWNER, GATEWAY, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        assert [is_held(path) for path in files(GATEWAY, folder)] == [True]
        process.send_signal(signal.SIGKILL)


def test_a_slot_is_private_and_all_there(folder: Path) -> None:
    """Nobody else may read requests, and its memory cannot be lacking later."""
    slot = create(folder)
    (path,) = files(GATEWAY, folder)
    found = path.stat()
    assert path.name == slot.name == f"lupine-slot-{GATEWAY}-12345678-0"
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_size == 1 << 20
    assert found.st_blocks * 512 >= 1 << 20
    assert is_held(path)
    slot.remove()
    slot.remove()


def test_a_name_is_given_once(folder: Path) -> None:
    """What is there already is never opened instead."""
    slot = create(folder)
    with pytest.raises(FileExistsError):
        create(folder)
    slot.remove()


def test_what_is_written_into_a_view_is_in_the_file(folder: Path) -> None:
    """At its offset."""
    slot = create(folder)
    view = slot.view(128, (2, 3), np.dtype(np.int16))
    view[:] = [[1, 2, 3], [4, 5, 6]]
    (path,) = files(GATEWAY, folder)
    assert path.read_bytes()[128:140] == np.arange(1, 7, dtype=np.int16).tobytes()
    slot.remove()  # while a view is held
    assert view.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_slot_that_was_left_has_no_owner(folder: Path) -> None:
    """Its name is for whoever sweeps."""
    slot = create(folder)
    slot.leave()
    slot.remove()  # it is another's by now
    (path,) = files(GATEWAY, folder)
    assert not is_held(path)
    path.unlink()


def test_a_slot_of_a_process_that_was_killed_has_no_owner(folder: Path) -> None:
    """The kernel let go of it; and of a guard, whose place is free again."""
    kill_an_owner(folder)
    (path,) = files(GATEWAY, folder)
    assert not is_held(path)
    path.unlink()
    Guard(GATEWAY, folder).close()


def test_only_gateways_without_a_guardian_leave_orphans(folder: Path) -> None:
    """One that has a guardian sweeps itself, and an owner that lives keeps what it has."""
    kill_an_owner(folder)
    (left,) = files(GATEWAY, folder)
    guard = Guard(GATEWAY, folder)
    assert slot_file.orphans("another", folder) == []
    guard.close()
    guard.close()
    living = create(folder, 1)
    assert slot_file.orphans("another", folder) == [left]
    assert slot_file.orphans(GATEWAY, folder) == []
    left.unlink()
    living.remove()


def test_a_gateway_has_one_guard(folder: Path) -> None:
    """The second is told."""
    guard = Guard(GATEWAY, folder)
    with pytest.raises(FileExistsError):
        Guard(GATEWAY, folder)
    guard.close()


def test_what_others_put_there_is_not_ours(tmp_path: Path) -> None:
    """Names that we do not give, and folders that are not there."""
    for name in ("lupine-slot-x", f"lupine-slot-{GATEWAY}-12345678-0.old", "psm_1234"):
        (tmp_path / name).touch()
    assert slot_file.of_gateway(GATEWAY, tmp_path) == []
    assert slot_file.orphans("", tmp_path) == []
    assert slot_file.of_gateway(GATEWAY, tmp_path / "absent") == []
    assert not is_held(tmp_path / "absent")


def test_half_of_the_memory_is_left_to_others(folder: Path) -> None:
    """Triton's stubs live there too, and fail where there is none left."""
    left = os.statvfs(folder)
    with pytest.raises(OSError, match="to spare"):
        create(folder, size=left.f_blocks * left.f_frsize // 2 + 1)
    assert not files(GATEWAY, folder)


def test_gateways_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    """However it is written."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    a, b = (slot_file.gateway_id(tmp_path / name) for name in ("a", "b"))
    assert a != b
    assert slot_file.gateway_id(tmp_path / "b" / ".." / "a") == a
