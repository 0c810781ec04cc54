"""Slot files in shared memory, of a test alone, and gone after it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.wires import slot_file
from service.wires.slot_file import Guard


def new_gateway() -> str:
    """An id that no gateway has."""
    return secrets.token_hex(6)


def files(gateway: str, folder: Path = slot_file.FOLDER) -> list[Path]:
    """The slots of a gateway, in the order of their numbers."""
    found = slot_file.of_gateway(gateway, folder)
    return sorted(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))


@contextmanager
def clean_gateway() -> Iterator[str]:
    """A gateway's id, guarded against those who sweep. Fails where the block leaves something."""
    gateway = new_gateway()
    guard = Guard(gateway)
    try:
        yield gateway
        assert not files(gateway)
    finally:
        guard.close()
        for path in files(gateway):
            path.unlink()


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder in shared memory where no real gateway sweeps; empty at the end, or it fails."""
    with tempfile.TemporaryDirectory(prefix="lupine-test-", dir=slot_file.FOLDER) as made:
        folder = Path(made)
        yield folder
        assert not list(folder.iterdir())
