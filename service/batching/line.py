"""Those who wait for one servable, in the order in which they are served. Pure.

A higher priority goes first. Within one, the kinds take turns: members of a kind may share a batch,
having the same trailing shapes, outputs and parameters. Within a kind the oldest goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from service.batching.member import Member

Kind = object
_Queue = OrderedDict[Member, None]  # whoever leaves early is found at once


class Line:
    """Who waits; bounded by whoever fills it."""

    __slots__ = ("_levels", "_rows", "members", "rows")

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[Kind, _Queue]] = {}
        self._rows: dict[Kind, int] = {}
        self.members = 0
        self.rows = 0

    def join(self, member: Member) -> None:
        """Stand at the end of one's priority and kind."""
        kind = member.kind
        level = self._levels.get(member.priority)
        if level is None:
            level = self._levels[member.priority] = OrderedDict()
        queue = level.get(kind)
        if queue is None:
            queue = level[kind] = OrderedDict()
        queue[member] = None
        self._rows[kind] = self._rows.get(kind, 0) + member.rows
        self.members += 1
        self.rows += member.rows

    def leave(self, member: Member) -> None:
        """Wait no more; nothing happens to whoever does not wait."""
        kind = member.kind
        level = self._levels.get(member.priority)
        queue = level.get(kind) if level is not None else None
        if level is None or queue is None or member not in queue:
            return
        del queue[member]
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

    def next_kind(self) -> Kind:
        """Whose turn it is; somebody must wait."""
        return next(iter(self._levels[min(self._levels)]))

    def of(self, kind: Kind) -> Iterator[Member]:
        """The members of a kind, in the order in which they are served."""
        for priority in sorted(self._levels):
            yield from self._levels[priority].get(kind, ())

    def rows_of(self, kind: Kind) -> int:
        """How many rows wait that may share a batch."""
        return self._rows.get(kind, 0)

    def rows_ahead(self, priority: int) -> int:
        """How many rows are served before whoever joins now with this priority."""
        if len(self._levels) <= 1:
            return self.rows if priority >= next(iter(self._levels), 0) else 0
        return sum(
            member.rows
            for level, kinds in self._levels.items()
            if level <= priority
            for queue in kinds.values()
            for member in queue
        )

    def take(self, kind: Kind, max_rows: int) -> list[Member]:
        """Those of a kind who fit into one batch, off the line; the kind goes to the end.

        The first goes in any case: alone it may have more rows than are worthwhile.
        """
        taken: list[Member] = []
        rows = 0
        for member in self.of(kind):
            rows += member.rows
            if rows > max_rows and taken:
                break
            taken.append(member)
        for member in taken:
            self.leave(member)
        for level in self._levels.values():
            if kind in level:
                level.move_to_end(kind)
        return taken
