"""Inputs of large runs in shared memory, where Triton reads them without a copy on the wire.

A run leases a slot, its requests are joined right into it, and Triton is told where they lie. With
the answer the slot is free for the next run. A run that was given up may be read still: its slot is
*retired*, and never used again. Triton counts who uses a region and unregisters none in use, so
that a retired slot costs its place in the budget until Triton has really done with it.

Whatever does not go this way goes inline. Nothing here waits for anything: a slot that is lacking
is made beside the runs, for those that come later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from service.errors import LupineError, UnavailableError
from service.protocol.concat import concat, concat_into, joined_shape
from service.protocol.datatypes import Datatype
from service.protocol.messages import Tensor
from service.wires import slot_file
from service.wires.oip_client import Placed
from service.wires.slot_file import ALIGNMENT, SlotFile

WORTHWHILE_BYTES = 32 << 10  # of one tensor; measured, docs/adr/0014
_LEAST_BYTES = 1 << 20  # of a slot
_FINENESS = 3  # bits of a slot's size that count: no more than a quarter of it is for nothing
_PAUSE_SECONDS = 5.0  # after a slot could not be made
_RETRY_SECONDS = 0.02, 1.0  # between two attempts to unregister: the first pause, and the longest


class Observer(Protocol):
    """Hears which way the runs go."""

    def shared_memory_used(self) -> None:
        """A run's large inputs went through a slot."""

    def shared_memory_fallback(self, reason: str) -> None:
        """A run went inline: one of `REASONS`."""


REASONS = (
    "small",  # inline is as fast
    "large",  # no slot within the budget could hold it
    "growing",  # no slot is free; one is being made
    "full",  # the budget is used up by runs, or by what Triton has not let go of
    "failed",  # a slot could not be made lately
    "lost",  # Triton did not know the slot
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """What all slots of a worker have in common.

    Args:
        owner: this worker.
        budget: bytes that its slots may have together.
        observer: see there.
    """

    owner: slot_file.Worker
    budget: int
    observer: Observer


class Regions(Protocol):
    """Where a Triton keeps what it knows of shared memory."""

    async def register(self, name: str, size: int) -> None:
        """Make a slot known. Raises LupineError where it fails."""

    async def unregister(self, name: str) -> None:
        """Make it unknown; so it may be already.

        Raises:
            UnavailableError: Triton is away.
            LupineError: a run uses it still.
        """


@dataclass(frozen=True, slots=True)
class Lease:
    """A run's slot, and its inputs: those in the slot, and those that go inline."""

    slot: SlotFile
    inputs: Mapping[str, Tensor | Placed]


class Slots:
    """The slots of one worker at one Triton.

    Args:
        regions: that Triton's.
        sharing: see there.
        numbers: of the slots, one after the other over the worker's life.
    """

    def __init__(
        self, regions: Regions, sharing: Sharing, numbers: count[int] | None = None
    ) -> None:
        self._regions = regions
        self._sharing = sharing
        self._numbers = numbers or count()
        self._free: list[SlotFile] = []  # the one used last is the last
        self._leased: set[SlotFile] = set()
        self._bytes = 0  # of all slots, retired ones and one in the making included
        self._tasks: dict[asyncio.Task[None], SlotFile | None] = {}  # a slot that is retired
        self._shrinking: set[SlotFile] = set()  # they make room for another
        self._growing = False
        self._pause_until = 0.0
        self._closed = False

    def place(self, members: Sequence[Mapping[str, Tensor]]) -> Lease | None:
        """Join the inputs of a run in a slot; None where they are to go inline.

        What is leased must be given back by `release`, `retire` or `forget`.
        """
        large: dict[str, int] = {}  # where each begins
        total = 0
        for name, first in members[0].items():
            size = first.array.nbytes
            if len(members) > 1:
                size = sum(member[name].array.nbytes for member in members)
            if size >= WORTHWHILE_BYTES and first.datatype is not Datatype.BYTES:
                large[name] = total
                total += -(-size // ALIGNMENT) * ALIGNMENT
        if not large:
            self._sharing.observer.shared_memory_fallback("small")
            return None
        slot = self._lease(total)
        if isinstance(slot, str):
            self._sharing.observer.shared_memory_fallback(slot)
            return None
        try:
            lease = Lease(slot, _filled(slot, members, large))
        except BaseException:
            self._give_back(slot)
            raise
        self._sharing.observer.shared_memory_used()
        return lease

    def release(self, lease: Lease) -> None:
        """The run was answered."""
        self._give_back(lease.slot)

    def retire(self, lease: Lease) -> None:
        """The run was given up, or its connection lost: Triton may read its inputs still."""
        self._leased.discard(lease.slot)
        self._end(lease.slot)

    def forget(self, lease: Lease) -> None:
        """Triton does not know the slot: it was started anew."""
        self._sharing.observer.shared_memory_fallback("lost")
        self._leased.discard(lease.slot)
        self._drop(lease.slot)

    def abandon(self) -> None:
        """Take all slots away: their Triton is gone. Runs that are under way have failed."""
        self._closed = True
        for task, slot in list(self._tasks.items()):
            task.cancel()
            if slot is not None:
                slot.remove()
        for slot in (*self._free, *self._leased):
            slot.remove()
        self._free.clear()
        self._leased.clear()

    async def close(self) -> None:
        """Give all slots back to a Triton that goes on.

        What it uses still is left for the guardian to sweep. Nothing is left in a Triton's absence.
        """
        self._closed = True
        retired = [slot for slot in self._tasks.values() if slot is not None]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        slots = [*self._free, *self._leased, *retired]
        self._free.clear()
        self._leased.clear()
        await asyncio.gather(*(self._part_with(slot) for slot in slots))

    async def _part_with(self, slot: SlotFile) -> None:
        try:
            await self._regions.unregister(slot.name)
        except UnavailableError:
            slot.remove()
        except LupineError:
            slot.leave()
        else:
            slot.remove()

    # ------------------------------------------------------------------ leasing

    def _lease(self, size: int) -> SlotFile | str:
        """A slot for so many bytes, or why there is none."""
        best: SlotFile | None = None
        for slot in reversed(self._free):
            if slot.size >= size and (best is None or slot.size < best.size):
                best = slot
        if best is None:
            return self._grow(size)
        self._free.remove(best)
        self._leased.add(best)
        return best

    def _give_back(self, slot: SlotFile) -> None:
        self._leased.discard(slot)
        if self._closed:
            self._drop(slot)
        else:
            self._free.append(slot)

    # ------------------------------------------------------------------ growing and shrinking

    def _grow(self, size: int) -> str:
        """Begin to make a slot where there may be another. Returns why there is none yet."""
        budget = self._sharing.budget
        if size > budget:
            return "large"
        if self._growing:
            return "growing"
        loop = asyncio.get_running_loop()
        if self._closed or loop.time() < self._pause_until:
            return "failed"
        step = max(_LEAST_BYTES, 1 << size.bit_length() - _FINENESS)
        wanted = min(-(-size // step) * step, budget)
        if self._bytes + wanted > budget:
            self._shrink(self._bytes + wanted - budget)
            return "full"
        self._growing = True
        self._bytes += wanted
        self._begin(self._make(wanted), None)
        return "growing"

    def _shrink(self, excess: int) -> None:
        """End free slots, all too small, which have not been used for longest."""
        excess -= sum(slot.size for slot in self._shrinking)
        if sum(slot.size for slot in self._free) < excess:
            return
        while excess > 0:
            slot = self._free.pop(0)
            excess -= slot.size
            self._shrinking.add(slot)
            self._end(slot)

    async def _make(self, size: int) -> None:
        slot: SlotFile | None = None
        making = asyncio.ensure_future(
            asyncio.to_thread(SlotFile.create, self._sharing.owner, next(self._numbers), size)
        )
        try:
            slot = await asyncio.shield(making)
            await self._regions.register(slot.name, size)
        except (OSError, LupineError):
            self._pause_until = asyncio.get_running_loop().time() + _PAUSE_SECONDS
            if slot is None:
                self._bytes -= size
            else:  # Triton may have taken it, and only the answer be lost
                self._end(slot)
        except asyncio.CancelledError:
            with suppress(OSError):
                (slot or await making).leave()  # Triton may know it, or not
            raise
        else:
            self._free.append(slot)
        finally:
            self._growing = False

    def _end(self, slot: SlotFile) -> None:
        """Take a slot away once Triton has let go of it."""
        if self._closed:
            self._drop(slot)
        else:
            self._begin(self._unregister(slot), slot)

    async def _unregister(self, slot: SlotFile) -> None:
        pause, longest = _RETRY_SECONDS
        while True:
            try:
                await self._regions.unregister(slot.name)
            except LupineError:  # in use, or Triton is away, which `abandon` will end
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                break
        self._drop(slot)

    def _drop(self, slot: SlotFile) -> None:
        self._bytes -= slot.size
        self._shrinking.discard(slot)
        slot.remove()

    def _begin(self, work: Coroutine[Any, Any, None], slot: SlotFile | None) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = slot
        task.add_done_callback(self._tasks.pop)


def _filled(
    slot: SlotFile, members: Sequence[Mapping[str, Tensor]], large: Mapping[str, int]
) -> dict[str, Tensor | Placed]:
    inputs: dict[str, Tensor | Placed] = {}
    for name, first in members[0].items():
        if name in large:
            arrays = [member[name].array for member in members]
            shape = joined_shape(arrays)
            view = slot.view(large[name], shape, first.datatype.dtype)
            concat_into(arrays, view)
            inputs[name] = Placed(first.datatype, shape, slot.name, large[name], view.nbytes)
        else:
            inputs[name] = concat([{name: member[name]} for member in members])[name]
    return inputs
