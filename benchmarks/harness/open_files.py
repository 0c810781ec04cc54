"""As many open files as a topic needs: each connection is one here, and one in a worker."""

from __future__ import annotations

import resource

_BESIDE = 200  # what a process has open besides its connections


def make_room(connections: int) -> None:
    """Let this process, and those that it starts, hold so many connections.

    Raises:
        RuntimeError: the hard limit is lower, and how it is raised.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _BESIDE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(
            f"{connections:,} connections need {wanted:,} open files, and the hard limit is "
            f"{hard:,}: raise it (`ulimit -Hn`, as root)"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
