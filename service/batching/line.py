"""Those who wait for one servable, in the order in which they are served. Pure.

A higher priority goes first. Within one, the kinds take turns: members of a kind may share a batch,
having the same trailing shapes, outputs and parameters. Within a kind the callers take turns: the
first member of each, then the second of each. A caller is a connection that may have many requests
at once; so one with hundreds of them is to the others as one with a single one. Within a caller
the oldest goes first, and so it does between callers that have one request each.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TypeAlias

from service.batching.member import Member

Kind = object
# Whoever leaves early is found at once. A member without a caller stands for itself.
_Lane: TypeAlias = OrderedDict[Member, None]
_Queue: TypeAlias = OrderedDict[int | Member, _Lane | Member]


class Line:
    """Who waits; bounded by whoever fills it."""

    __slots__ = ("_callers", "_levels", "_rows", "_single", "members", "rows")

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[Kind, _Queue]] = {}
        self._rows: dict[Kind, int] = {}
        self._callers: dict[int, int] = {}  # and how many members of each wait
        self._single = 0  # members without a caller
        self.members = 0
        self.rows = 0

    def join(self, member: Member) -> None:
        """Stand at the end of one's priority, kind and caller."""
        kind = member.kind
        level = self._levels.get(member.priority)
        if level is None:
            level = self._levels[member.priority] = OrderedDict()
        queue = level.get(kind)
        if queue is None:
            queue = level[kind] = OrderedDict()
        caller = member.caller
        if not caller:
            queue[member] = member
            self._single += 1
        else:
            lane = queue.get(caller)
            if not isinstance(lane, OrderedDict):
                lane = queue[caller] = OrderedDict()
            lane[member] = None
            self._callers[caller] = self._callers.get(caller, 0) + 1
        self._rows[kind] = self._rows.get(kind, 0) + member.rows
        self.members += 1
        self.rows += member.rows

    def leave(self, member: Member) -> None:
        """Wait no more; nothing happens to whoever does not wait."""
        kind, caller = member.kind, member.caller
        level = self._levels.get(member.priority)
        queue = level.get(kind) if level is not None else None
        lane = queue.get(caller or member) if queue is not None else None
        if level is None or queue is None or lane is None:
            return
        if isinstance(lane, OrderedDict):
            if member not in lane:
                return
            del lane[member]
            if not lane:
                del queue[caller]
            self._count_off(caller)
        else:
            del queue[member]
            self._single -= 1
        if not queue:
            del level[kind]
            if not level:
                del self._levels[member.priority]
        self.members -= 1
        self.rows -= member.rows
        left = self._rows[kind] - member.rows
        if left:
            self._rows[kind] = left
        else:
            del self._rows[kind]

    def _count_off(self, caller: int) -> None:
        left = self._callers[caller] - 1
        if left:
            self._callers[caller] = left
        else:
            del self._callers[caller]

    def next_kind(self) -> Kind:
        """Whose turn it is; somebody must wait."""
        return next(iter(self._levels[min(self._levels)]))

    def of(self, kind: Kind) -> Iterator[Member]:
        """The members of a kind, in the order in which they are served."""
        for priority in sorted(self._levels):
            queue = self._levels[priority].get(kind)
            if queue is not None:
                yield from _in_turn(queue)

    def rows_of(self, kind: Kind) -> int:
        """How many rows wait that may share a batch."""
        return self._rows.get(kind, 0)

    def rows_ahead(self, priority: int, caller: int = 0) -> int:
        """How many rows are served before whoever joins now with this priority, for this caller.

        Where callers take turns it is an upper bound: nobody else has more turns before its own
        than it has itself, with rows as they are on average.
        """
        if len(self._levels) <= 1:
            rows = self.rows if priority >= next(iter(self._levels), 0) else 0
        else:
            rows = sum(
                member.rows
                for level, kinds in self._levels.items()
                if level <= priority
                for queue in kinds.values()
                for member in _in_turn(queue)
            )
        if not self._callers:
            return rows
        turns = (self._callers.get(caller, 0) + 1) * (len(self._callers) + self._single)
        if turns >= self.members:
            return rows
        return min(rows, math.ceil(turns * self.rows / self.members))

    def take(
        self,
        kind: Kind,
        max_rows: int,
        max_bytes: float = math.inf,
        in_vain: Callable[[Member], bool] = lambda _: False,
    ) -> tuple[list[Member], list[Member]]:
        """Those of a kind who fit into one batch, off the line; the kind goes to the end.

        So do the callers who were served. The first member goes in any case: alone it may have
        more rows than are worthwhile, or more bytes.

        Args:
            kind: whose turn it is.
            max_rows: of the batch.
            max_bytes: of the batch.
            in_vain: who takes no place in it.

        Returns:
            the batch, and who stood before its last and waited in vain: they are off the line too.
        """
        taken: list[Member] = []
        late: list[Member] = []
        rows = size = 0
        for member in self.of(kind):
            if in_vain(member):
                late.append(member)
                continue
            rows += member.rows
            size += member.size
            if (rows > max_rows or size > max_bytes) and taken:
                break
            taken.append(member)
        for member in taken:
            self.leave(member)
        for member in late:
            self.leave(member)
        for level in self._levels.values():
            if kind in level:
                level.move_to_end(kind)
                if self._callers:
                    _served(level[kind], taken)
        return taken, late


def _in_turn(queue: _Queue) -> Iterator[Member]:
    """The first of each caller, then the second of each, and so on."""
    lanes = []
    for lane in queue.values():
        if isinstance(lane, OrderedDict):
            rest = iter(lane)
            yield next(rest)
            lanes.append(rest)
        else:
            yield lane
    while lanes:
        going_on = []
        for rest in lanes:
            member = next(rest, None)
            if member is not None:
                yield member
                going_on.append(rest)
        lanes = going_on


def _served(queue: _Queue, taken: list[Member]) -> None:
    """Whose members have left goes to the end, if more of them wait."""
    for member in taken:
        if member.caller in queue:
            queue.move_to_end(member.caller)
