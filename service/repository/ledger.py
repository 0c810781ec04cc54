"""What the workers of one gateway agree on: which models were loaded or unloaded by hand.

A file of names, replaced atomically under a lock, and a number in shared memory that changes with
it. Reading the number costs no system call, so every request can afford it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

_NUMBER = struct.Struct("=Q")


class Order(msgspec.Struct, frozen=True):
    """What was asked for, and a number that no other order has."""

    loaded: bool
    stamp: int


class Ledger:
    """Opened in a private folder that all processes of one gateway share.

    Args:
        folder: exists, and belongs to this gateway alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._map: mmap.mmap | None = None

    def current(self) -> int:
        """The generation: a number that changes whenever what is loaded does."""
        return int(_NUMBER.unpack_from(self._shared())[0])

    def bump(self) -> None:
        """Start a new generation: every worker looks again before its next request."""
        _NUMBER.pack_into(self._shared(), 0, time.monotonic_ns())

    def orders(self) -> dict[str, Order]:
        """The last order for each model that anybody loaded or unloaded."""
        try:
            text = (self._folder / "orders.json").read_bytes()
        except FileNotFoundError:
            return {}
        return msgspec.json.decode(text, type=dict[str, Order])

    def wanted(self, available: Iterable[str]) -> list[str]:
        """Of the models in the repository, those that nobody unloaded."""
        orders = self.orders()
        return [name for name in available if name not in orders or orders[name].loaded]

    def record(self, model: str, *, loaded: bool) -> int:
        """Remember what was asked for, start a new generation, and return the order's stamp."""
        with self._locked():
            stamp = time.monotonic_ns()
            orders = self.orders() | {model: Order(loaded, stamp)}
            staged = self._folder / f"orders.json.{os.getpid()}"
            staged.write_bytes(msgspec.json.encode(orders))
            staged.replace(self._folder / "orders.json")
        self.bump()
        return stamp

    def close(self) -> None:
        """Let the shared memory go."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def _shared(self) -> mmap.mmap:
        if self._map is None:
            descriptor = os.open(self._folder / "generation", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.ftruncate(descriptor, _NUMBER.size)
                self._map = mmap.mmap(descriptor, _NUMBER.size)
            finally:
                os.close(descriptor)
        return self._map

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._folder / "ledger.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
