"""Slots: leased, bounded, and never written while a run that was given up may read them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from service.engines.shared_memory import REASONS, WORTHWHILE_BYTES, Lease, Sharing, Slots
from service.errors import InvalidRequestError, UnavailableError
from service.protocol.datatypes import Datatype
from service.protocol.messages import Tensor
from service.telemetry import Telemetry
from service.wires.oip_client import Placed
from service.wires.slot_file import ALIGNMENT, FOLDER, Worker
from tests.slots import clean_gateway, files

MIB = 1 << 20


class Triton:
    """What a server knows of shared memory, and what it would read there."""

    def __init__(self) -> None:
        self.regions: dict[str, int] = {}
        self.used: set[str] = set()
        self.away = False
        self.refuses = False

    async def register(self, name: str, size: int) -> None:
        """Only what is there."""
        await asyncio.sleep(0)
        if self.away:
            raise UnavailableError("away")
        if self.refuses:
            raise InvalidRequestError("no")
        assert (FOLDER / name).stat().st_size == size
        self.regions[name] = size

    async def unregister(self, name: str) -> None:
        """Only what no run uses."""
        await asyncio.sleep(0)
        if self.away:
            raise UnavailableError("away")
        if name in self.used:
            raise InvalidRequestError("in use")
        assert (FOLDER / name).exists(), "a killed worker's region could not be found any more"
        self.regions.pop(name, None)

    def reads(self, placed: Tensor | Placed) -> np.ndarray[Any, Any]:
        """The values of an input that lies in a region."""
        assert isinstance(placed, Placed)
        assert placed.region in self.regions
        data = (FOLDER / placed.region).read_bytes()[placed.offset :][: placed.size]
        return np.frombuffer(data, placed.datatype.dtype).reshape(placed.shape)


class Bench:
    """Slots at a Triton, with what they told."""

    def __init__(self, gateway: str, budget: int = 64 * MIB) -> None:
        self.gateway = gateway
        self.triton = Triton()
        self.used = 0
        self.fallbacks: list[str] = []
        self.slots = Slots(
            self.triton,
            Sharing(owner=Worker(gateway, "00000000"), budget=budget, observer=self),
        )

    def shared_memory_used(self) -> None:
        """A run had a slot."""
        self.used += 1

    def shared_memory_fallback(self, reason: str) -> None:
        """A run had none."""
        self.fallbacks.append(reason)

    def place(self, *sizes: int) -> Lease | None:
        """A run of requests with so many bytes each."""
        return self.slots.place([{"x": tensor(size, i)} for i, size in enumerate(sizes)])

    async def lease(self, *sizes: int) -> Lease:
        """The same, asked until there is a slot."""
        for _ in range(1000):
            lease = self.place(*sizes)
            if lease is not None:
                return lease
            await asyncio.sleep(0.005)
        raise AssertionError(f"there is no slot: {self.fallbacks[-1]}")

    async def until_files(self, count: int) -> None:
        """Wait until there are so many."""
        for _ in range(1000):
            if len(files(self.gateway)) == count:
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"{files(self.gateway)} are there")


def tensor(size: int, value: int = 1) -> Tensor:
    """An FP32 tensor of so many bytes in one row."""
    return Tensor(Datatype.FP32, np.full((1, size // 4), value, np.float32))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Slots with 64 MiB; closed, they leave nothing behind."""
    with clean_gateway() as gateway:
        made = Bench(gateway)
        yield made
        made.triton.used.clear()
        await made.slots.close()
        assert made.triton.regions == {}


@pytest.fixture
async def narrow() -> AsyncIterator[Bench]:
    """The same with 4 MiB."""
    with clean_gateway() as gateway:
        made = Bench(gateway, 4 * MIB)
        yield made
        made.triton.used.clear()
        await made.slots.close()
        assert made.triton.regions == {}


async def test_requests_are_joined_where_triton_reads_them(bench: Bench) -> None:
    """In order, each input aligned, in private memory."""
    await bench.lease(MIB)

    def request(value: int, rows: int) -> dict[str, Tensor]:
        return {
            "x": Tensor(Datatype.FP32, np.full((rows, 9001), value, np.float32)),
            "y": Tensor(Datatype.UINT8, np.full((rows, 40_001), value, np.uint8)),
        }

    members: Sequence[dict[str, Tensor]] = [request(1, 2), request(2, 1), request(3, 3)]
    lease = bench.slots.place(members)
    while lease is None:
        await asyncio.sleep(0.005)
        lease = bench.slots.place(members)
    for name, placed in lease.inputs.items():
        assert isinstance(placed, Placed)
        assert placed.offset % ALIGNMENT == 0
        wanted = np.concatenate([member[name].array for member in members])
        assert np.array_equal(bench.triton.reads(placed), wanted)


async def test_small_tensors_and_strings_stay_inline(bench: Bench) -> None:
    """Beside those that are large."""
    text = Tensor(Datatype.BYTES, np.array([[b"a" * WORTHWHILE_BYTES]], np.object_))
    small = Tensor(Datatype.INT8, np.zeros((1, 3), np.int8))
    alone = [{"text": text, "small": small, "x": tensor(WORTHWHILE_BYTES - 4)}]
    assert bench.slots.place(alone) is None
    assert bench.fallbacks == ["small"]
    bench.slots.release(await bench.lease(MIB))
    large = tensor(WORTHWHILE_BYTES // 2)
    lease = bench.slots.place([{"text": text, "x": large, "small": small}] * 2)
    assert lease is not None
    assert isinstance(lease.inputs["x"], Placed)
    assert [lease.inputs[n].shape for n in ("text", "x", "small")] == [(2, 1), (2, 4096), (2, 3)]
    assert isinstance(lease.inputs["text"], Tensor)
    assert isinstance(lease.inputs["small"], Tensor)


async def test_a_slot_serves_one_run_after_another(bench: Bench) -> None:
    """With the answer it is free."""
    first = await bench.lease(MIB)
    bench.slots.release(first)
    for _ in range(10):
        again = bench.place(MIB // 2)
        assert again is not None
        assert again.slot is first.slot
        bench.slots.release(again)
    assert len(files(bench.gateway)) == len(bench.triton.regions) == 1
    assert bench.used == 11
    assert set(bench.fallbacks) == {"growing"}


async def test_runs_at_the_same_time_have_slots_of_their_own(bench: Bench) -> None:
    """However many."""
    leases = [await bench.lease(MIB) for _ in range(4)]
    assert len({lease.slot.name for lease in leases}) == 4
    assert len(files(bench.gateway)) == 4


async def test_the_smallest_that_is_large_enough_is_leased(bench: Bench) -> None:
    """Large ones are kept for those that need them."""
    small, large = await bench.lease(MIB), await bench.lease(5 * MIB)
    assert (small.slot.size, large.slot.size) == (MIB, 5 * MIB)
    bench.slots.release(small)
    bench.slots.release(large)
    found = bench.place(MIB)
    assert found is not None
    assert found.slot is small.slot


async def test_slots_are_bounded(narrow: Bench) -> None:
    """By bytes; who finds none goes inline, and is counted."""
    leases = [await narrow.lease(MIB) for _ in range(4)]
    assert narrow.place(MIB) is None
    assert narrow.place(4 * MIB + 4) is None
    assert narrow.fallbacks[-2:] == ["full", "large"]
    assert sum(path.stat().st_size for path in files(narrow.gateway)) == 4 * MIB
    narrow.slots.release(leases[0])
    assert narrow.place(MIB) is not None


async def test_slots_that_are_too_small_make_room(narrow: Bench) -> None:
    """Those that nobody uses, and only where it is of use."""
    kept, *others = [await narrow.lease(MIB) for _ in range(4)]
    for lease in others:
        narrow.slots.release(lease)
    assert narrow.place(4 * MIB) is None
    await asyncio.sleep(0.05)
    assert len(files(narrow.gateway)) == 4  # one is in use: it would not do
    lease = await narrow.lease(2 * MIB)
    assert lease.slot.size == 2 * MIB
    assert kept.slot.name in narrow.triton.regions
    assert sum(path.stat().st_size for path in files(narrow.gateway)) == 4 * MIB


async def test_a_retired_slot_is_gone_once_triton_has_done_with_it(narrow: Bench) -> None:
    """Until then it counts, nobody writes into it, and its name is there to be found."""
    lease = await narrow.lease(4 * MIB)
    narrow.triton.used.add(lease.slot.name)
    before = narrow.triton.reads(lease.inputs["x"])
    narrow.slots.retire(lease)
    await asyncio.sleep(0.1)
    assert narrow.place(4 * MIB) is None
    assert narrow.fallbacks[-1] == "full"
    assert np.array_equal(narrow.triton.reads(lease.inputs["x"]), before)
    narrow.triton.used.clear()
    another = await narrow.lease(4 * MIB)
    assert another.slot is not lease.slot
    assert [path.name for path in files(narrow.gateway)] == [another.slot.name]


@pytest.mark.parametrize("trouble", ["away", "refuses"])
async def test_what_fails_is_not_tried_again_at_once(bench: Bench, trouble: str) -> None:
    """Runs go inline meanwhile."""
    setattr(bench.triton, trouble, True)
    assert bench.place(MIB) is None
    async with asyncio.timeout(5):
        while "failed" not in bench.fallbacks:
            await asyncio.sleep(0.005)
            assert bench.place(MIB) is None
    setattr(bench.triton, trouble, False)
    await bench.until_files(0)


async def test_without_shared_memory_runs_go_inline(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing breaks."""

    def refused(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("os.posix_fallocate", refused)
    async with asyncio.timeout(5):
        while "failed" not in bench.fallbacks:
            assert bench.place(MIB) is None
            await asyncio.sleep(0.005)
    assert not files(bench.gateway)


async def test_a_slot_that_triton_does_not_know_is_replaced(bench: Bench) -> None:
    """It was started anew behind the same address."""
    lease = await bench.lease(MIB)
    bench.triton.regions.clear()
    bench.slots.forget(lease)
    assert bench.fallbacks[-1] == "lost"
    assert not files(bench.gateway)
    assert (await bench.lease(MIB)).slot.name in bench.triton.regions


async def test_all_are_gone_with_their_triton(bench: Bench) -> None:
    """In whatever state they are; and runs that fail afterwards change nothing."""
    leased, retired, free = [await bench.lease(MIB) for _ in range(3)]
    bench.triton.used |= {leased.slot.name, retired.slot.name}
    bench.slots.retire(retired)
    bench.slots.release(free)
    await asyncio.sleep(0.05)
    bench.slots.abandon()
    assert not files(bench.gateway)
    bench.slots.retire(leased)
    assert bench.place(8 * MIB) is None
    assert bench.fallbacks[-1] == "failed"
    bench.triton.regions.clear()


async def test_what_is_in_use_at_the_end_is_left_to_be_swept() -> None:
    """The rest is given back."""
    with clean_gateway() as gateway:
        bench = Bench(gateway)
        leases = [await bench.lease(MIB) for _ in range(3)]
        bench.triton.used |= {leases[0].slot.name, leases[1].slot.name}
        bench.slots.retire(leases[0])
        await asyncio.sleep(0.05)
        await bench.slots.close()
        bench.slots.retire(leases[1])
        left = files(gateway)
        assert {path.name for path in left} == bench.triton.used == bench.triton.regions.keys()
        for path in left:
            path.unlink()


async def test_without_triton_nothing_is_left_at_the_end() -> None:
    """There is nobody who reads it."""
    with clean_gateway() as gateway:
        bench = Bench(gateway)
        bench.slots.release(await bench.lease(MIB))
        bench.triton.away = True
        await bench.slots.close()


async def test_a_slot_in_the_making_at_the_end_is_left_to_be_swept() -> None:
    """Triton may know it already."""
    with clean_gateway() as gateway:
        bench = Bench(gateway)
        assert bench.place(MIB) is None
        await asyncio.sleep(0)
        await bench.slots.close()
        for path in files(gateway):
            path.unlink()


def test_every_reason_is_counted() -> None:
    """The metric knows them all from the beginning."""
    telemetry = Telemetry()
    for reason in REASONS:
        telemetry.shared_memory_fallback(reason)
    telemetry.shared_memory_used()
    page = telemetry.exposition().decode()
    for reason in REASONS:
        assert f'lupine_shared_memory_fallback_total{{reason="{reason}"}} 1.0' in page
    assert "lupine_shared_memory_runs_total 1.0" in page
