"""When to cut a batch, and how much to take. Pure.

The first policy, and a plain one: never wait. Whatever queued while the engine was busy goes
together as soon as a slot is free, so an idle engine adds no delay and a busy one fills batches.
"""

from __future__ import annotations

from collections.abc import Iterable


def members_to_cut(
    waiting_rows: Iterable[int], *, max_rows: int, in_flight: int, max_in_flight: int
) -> int:
    """How many members, oldest first, leave the queue now as one batch; 0: wait.

    Args:
        waiting_rows: rows of each waiting member, oldest first; none has more than `max_rows`.
        max_rows: rows a batch may have.
        in_flight: batches the engine is working on.
        max_in_flight: batches it may work on at once.
    """
    if in_flight >= max_in_flight:
        return 0
    members = total = 0
    for rows in waiting_rows:
        total += rows
        if total > max_rows:
            break
        members += 1
    return members
