"""Groups of real processes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from service.runner.process_group import ProcessGroup

# A leader with a child that ignores being asked; the leader says when the child is there.
_FAMILY = "(trap '' TERM; echo there; sleep 60 & wait) & wait"


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A session of a leader, its child and its grandchild."""
    process = subprocess.Popen(
        ["bash", "-c", _FAMILY], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    yield process
    process.kill()
    process.communicate()


async def test_orphans_are_found_and_ended(family: subprocess.Popen[bytes]) -> None:
    """Members whose leader was killed and reaped are still told apart, and ended."""
    group = ProcessGroup.led_by(family.pid)
    assert family.pid in group.members()
    family.kill()
    family.wait()
    assert group.members()
    assert family.pid not in group.members()
    assert await group.kill() == []
    assert group.members() == []


async def test_a_number_given_away_again_is_left_alone(family: subprocess.Popen[bytes]) -> None:
    """A process with the recorded number but another start time is a stranger: it lives on."""
    group = ProcessGroup.led_by(family.pid)
    earlier = ProcessGroup(group.leader, group.started - 1)
    assert earlier.members() == []
    assert await earlier.kill() == []
    assert family.poll() is None
    await group.kill()


def test_who_is_not_there_leads_nothing() -> None:
    """A process that has ended and been reaped leads no group."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(ProcessLookupError):
        ProcessGroup.led_by(ended.pid)
