"""Stops a gateway's workers for a while, again and again, as a long collection or a swap would."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil

SECONDS = 2.0
EVERY_SECONDS = 20.0


@contextmanager
def stalling(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """While the block runs, these processes stand still for 2 s in every 20 s."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(EVERY_SECONDS - SECONDS):
            for process in processes:
                process.suspend()
            over.wait(SECONDS)
            for process in processes:
                process.resume()

    thread = threading.Thread(target=run, name="stall")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
